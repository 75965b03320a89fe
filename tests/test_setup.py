from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

pytestmark = pytest.mark.service

ROOT = Path(__file__).parents[1]


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=100, cwd=ROOT, check=False)


def test_set_up_where_all_is_there_looks_at_each_part_and_ends_well() -> None:
    done = _run("scripts/setup")
    assert done.returncode == 0, done.stdout + done.stderr
    for step in ("system packages", "virtual environment", "Python packages", "MediaMTX", "models", "last look"):
        assert f"setup: {step}: " in done.stdout
    assert "installing" not in done.stdout


def test_set_up_refuses_an_option_it_does_not_know() -> None:
    done = _run("scripts/setup", "--nope")
    assert (done.returncode, done.stderr) == (2, "usage: scripts/setup [--dev]\n")


def test_a_package_that_is_missing_or_of_another_version_is_unmet(tmp_path: Path) -> None:
    lock = tmp_path / "x.lock"
    lock.write_text(
        f"numpy=={metadata.version('numpy')} \\\n    --hash=sha256:0\npytest==0.1\nno-such-package==1.0 \\\n"
    )
    assert _run(sys.executable, "scripts/unmet", str(lock)).stdout.split() == ["pytest==0.1", "no-such-package==1.0"]


@pytest.mark.parametrize("name", ["build", "runtime", "models", "dev", "cuda", "mediamtx-build"])
def test_every_locked_package_has_its_hash(name: str) -> None:
    text = (ROOT / "requirements" / f"{name}.lock").read_text("utf-8")
    packages = [
        block for block in text.replace("\\\n", " ").splitlines() if block.strip() and not block.startswith("#")
    ]
    assert packages
    assert [line for line in packages if "==" not in line or "--hash=sha256:" not in line] == []
