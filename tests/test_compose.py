"""deploy/compose.yaml and what it mounts, against what they speak of. No container engine is needed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from dubrelay import config
from dubrelay.cli import app
from dubrelay.config import MediaMtx, Orchestrator, Paths, Settings

pytestmark = pytest.mark.service

DEPLOY = Path(__file__).parents[1] / "deploy"
SECRETS = {"DUBRELAY_API_TOKEN", "DUBRELAY_HOOK_TOKEN", "DUBRELAY_STS_KEY", "GRAFANA_PASSWORD"}
TEXT = (DEPLOY / "compose.yaml").read_text("utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
EXAMPLE = (DEPLOY / "compose.env.example").read_text("utf-8")


def _filled(text: str, **given: str) -> str:
    """With compose's variables: ${NAME:-default} and ${NAME:?message}."""
    return re.sub(r"\$\{(\w+)(?::[-?]([^}]*))?\}", lambda found: given.get(found[1], found[2] or ""), text)


def _settings(service: str, **given: str) -> Settings:
    secrets = dict.fromkeys(SECRETS, "a-secret-of-24-letters")
    environ = {
        name: _filled(str(value), **(secrets | given)) for name, value in SERVICES[service]["environment"].items()
    }
    return config.load(None, {name: value for name, value in environ.items() if name.startswith(config.ENV_PREFIX)})


def test_there_are_the_parts_of_a_media_host_in_two_profiles() -> None:
    profiles = {name: service.get("profiles", []) for name, service in SERVICES.items()}
    assert profiles == {
        **{name: [] for name in ("net", "mediamtx", "prometheus", "grafana")},
        "orchestrator": ["cpu"],
        "sts": ["cpu"],
        "orchestrator-remote": ["gpu-remote"],
    }


def test_commands_are_ones_that_there_are() -> None:
    commands = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    for name in ("mediamtx", "orchestrator", "orchestrator-remote"):
        assert SERVICES[name]["command"][0] in commands
    file = SERVICES["mediamtx"]["command"][2]
    assert f"COPY deploy/mediamtx.yml {Path(file).parent}/\n" in (DEPLOY / "Dockerfile").read_text("utf-8")


def test_their_environment_is_settings() -> None:
    local = _settings("orchestrator")
    assert local.sts_client.urls == ["http://sts:8000"]
    assert _settings("sts").sts.key == local.sts_client.key
    remote = _settings("orchestrator-remote", DUBRELAY_STS_URLS='["https://gpu.example:8000"]')
    assert remote.sts_client.urls == ["https://gpu.example:8000"]
    assert str(remote.sts_client.ca_file) == "/etc/ssl/certs/ca-certificates.crt"
    mediamtx = _settings("mediamtx")
    for key in ("mediamtx", "orchestrator"):
        assert getattr(mediamtx, key) == getattr(local, key) == getattr(remote, key)


def test_the_profile_without_services_says_so() -> None:
    with pytest.raises(config.ConfigError, match=r"sts_client\.urls"):
        _settings("orchestrator-remote")


def test_what_must_not_leave_the_machine_is_on_loopback_and_the_rest_too_unless_told_otherwise() -> None:
    published = [str(port) for service in SERVICES.values() for port in service.get("ports", [])]
    ports = MediaMtx()
    meant = {
        f"{ports.rtmp_port}:{ports.rtmp_port}",
        f"{ports.srt_port}:{ports.srt_port}/udp",
        f"{ports.hls_port}:{ports.hls_port}",
    }
    assert {port.partition("127.0.0.1}:")[2] for port in published if port.startswith("${")} == meant
    assert all(port.startswith(("127.0.0.1:", "${DUBRELAY_BIND:-127.0.0.1}:")) for port in published)
    closed = {port for port in published if port.startswith("127.0.0.1:")}
    assert closed == {f"127.0.0.1:{Orchestrator().port}:{Orchestrator().port}", "127.0.0.1:3000:3000"}
    assert not any(str(p) in " ".join(published) for p in (ports.api_port, ports.metrics_port, 9090))


def test_workers_and_prometheus_reach_mediamtx_by_loopback_and_the_network_is_of_one_that_never_restarts() -> None:
    for name in ("mediamtx", "orchestrator", "orchestrator-remote", "prometheus"):
        assert SERVICES[name]["network_mode"] == "service:net", name
        assert not SERVICES[name].get("ports"), name
    assert SERVICES["net"]["entrypoint"] == ["sleep", "infinity"]


def test_images_are_pinned_and_every_part_is_confined_and_looked_after() -> None:
    for name, service in SERVICES.items():
        assert re.fullmatch(r"[\w./-]+:v?\d+\.\d+\.\d+", service["image"]), name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["read_only"] or name == "prometheus"
        assert service["logging"]["options"]["max-size"], name
        assert "healthcheck" in service or name in {"net", "sts"}, name  # the image of sts has one
        assert not service.get("privileged")
        assert "docker.sock" not in str(service.get("volumes"))


def test_health_checks_ask_where_the_parts_listen() -> None:
    checks = {
        name: str(service["healthcheck"]["test"]) for name, service in SERVICES.items() if "healthcheck" in service
    }
    assert f"127.0.0.1', {MediaMtx().api_port}" in checks["mediamtx"]
    assert f"127.0.0.1:{Orchestrator().port}/healthz" in checks["orchestrator"]


def test_no_secret_is_in_it_and_each_is_asked_for() -> None:
    for name, service in SERVICES.items():
        for key, value in (service.get("environment") or {}).items():
            if re.search(r"KEY$|TOKEN$|PASSWORD$|SECRET", key):
                assert re.fullmatch(r"\$\{\w+:\?set it in deploy/\.env\}", value), f"{name}: {key}"
    assert set(re.findall(r"\$\{(\w+):\?", TEXT)) == SECRETS
    assert set(re.findall(r"^(\w+)=$", EXAMPLE, re.MULTILINE)) == SECRETS
    named = set(re.findall(r"\$\{(\w+)", TEXT))
    assert set(re.findall(r"^#?(\w+)=", EXAMPLE, re.MULTILINE)) == named


def test_mediamtx_and_orchestrator_see_the_same_recordings() -> None:
    state = re.findall(r"DUBRELAY_PATHS__STATE_DIR=(\S+)", (DEPLOY / "Dockerfile").read_text("utf-8"))[-1]
    directory = Settings(paths=Paths(state_dir=Path(state))).recordings_dir
    for name in ("mediamtx", "orchestrator", "orchestrator-remote"):
        assert f"recordings:{directory}" in SERVICES[name]["volumes"]
    assert str(directory) in (DEPLOY / "Dockerfile").read_text("utf-8"), "or root owns the volume"


def test_what_is_mounted_exists() -> None:
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            source = _filled(volume).partition(":")[0]
            if source.startswith("./") and source != "./tls":
                assert (DEPLOY / source).exists(), source
            elif not source.startswith("./"):
                assert source in COMPOSE["volumes"]
    scraped = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text("utf-8"))
    addresses = {t for job in scraped["scrape_configs"] for s in job.get("static_configs", []) for t in s["targets"]}
    assert addresses == {f"127.0.0.1:{Orchestrator().port}", f"127.0.0.1:{MediaMtx().metrics_port}"}
