# The commands a user learns; each sets up what it needs first (seconds when it is there).
.DEFAULT_GOAL := help
.PHONY: help setup setup-dev demo up dev test check bench screenshots clean
MAKEFLAGS += --no-print-directory
bin := .venv/bin
shell_scripts := scripts/setup scripts/mediamtx scripts/promtool scripts/lock .ci/run

help:           ## this list
	@sed -n 's/^\([a-z-]*\): .*## /\1\t/p' Makefile | expand -t 12
	@echo "demo takes SECONDS=n INPUT=file-or-folder TO=language; test takes ARGS=\"-m gst\" and the like"

setup:          ## install what running needs
	@scripts/setup
setup-dev:      ## install what tests and checks need as well
	@scripts/setup --dev

demo: setup     ## start everything, publish a programme, show each phrase as it is dubbed
	@$(bin)/dubrelay demo $(if $(SECONDS),--seconds "$(SECONDS)") $(if $(INPUT),--input "$(INPUT)") $(if $(TO),--to "$(TO)") $(ARGS)

up: setup       ## start everything, say where to publish and where to watch
	@$(bin)/dubrelay up $(ARGS)
dev: up         ## the same as up

test: setup-dev ## all tests, three files at a time
	@$(bin)/pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder $(ARGS)

check: setup-dev ## format, lint, types, import rules, shell scripts
	$(bin)/ruff format --check .
	$(bin)/ruff check .
	$(bin)/mypy --strict src/dubrelay
	$(bin)/lint-imports
	@for script in $(shell_scripts); do echo "bash -n $$script"; bash -n "$$script" || exit 1; done
	@if command -v shellcheck >/dev/null; then shellcheck $(shell_scripts); else echo "shellcheck is not installed: skipped"; fi

bench: setup    ## all benches but bench/soak, one after the other; fails if one of them does
	@failed=; for bench in $(filter-out bench/soak,$(wildcard bench/*)); do \
		if [ -f "$$bench" ] && [ -x "$$bench" ]; then echo "== $$bench"; "$$bench" $(ARGS) || failed="$$failed $$bench"; fi; \
	done; echo "bench/soak takes an hour: call it by itself"; if [ -n "$$failed" ]; then echo "failed:$$failed"; exit 1; fi

screenshots: setup-dev ## the pictures of the page in docs/screenshots, anew
	@scripts/screenshots

clean:          ## remove caches; models, recordings and logs under var/ stay
	@find src tests bench -name __pycache__ -type d -prune -exec rm -rf {} +
	@rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
