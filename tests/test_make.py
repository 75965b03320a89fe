from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.service

ROOT = Path(__file__).parents[1]


def test_all_benches_run_but_the_hour_of_soak_and_one_that_fails_is_named(tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name, mode in (("bench/quick", 0o755), ("bench/bad", 0o755), ("bench/soak", 0o755), ("bench/part.py", 0o644)):
        _script(tmp_path / name, f"echo ran {name} $*; test {name} != bench/bad", mode)
    _script(tmp_path / "scripts/setup", "", 0o755)
    done = subprocess.run(
        ["make", "bench", "ARGS=--json x"], cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False
    )
    ran = [line for line in done.stdout.splitlines() if line.startswith("ran ")]
    assert ran == ["ran bench/bad --json x", "ran bench/quick --json x"]
    assert "bench/soak takes an hour: call it by itself" in done.stdout
    assert "failed: bench/bad" in done.stdout
    assert done.returncode != 0


def _script(file: Path, body: str, mode: int) -> None:
    file.parent.mkdir(exist_ok=True)
    file.write_text(f"#!/bin/sh\n{body}\n")
    file.chmod(mode)
