"""deploy/systemd: units that systemd takes, with what they start, and confined."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from dubrelay import config
from dubrelay.cli import app
from dubrelay.errors import ConfigError, StartupError

pytestmark = pytest.mark.service

ROOT = Path(__file__).parents[1]
UNITS = sorted((ROOT / "deploy" / "systemd").iterdir())
SERVICES = [unit for unit in UNITS if unit.suffix == ".service"]
EXPOSURE = 2.0
"""Of systemd's 0 to 10; 9.6 is a unit that says nothing."""


def _all(unit: Path, key: str) -> list[str]:
    return re.findall(rf"^{key}=(.*)$", unit.read_text("utf-8"), re.MULTILINE)


def _analyzed(*arguments: str | Path, cwd: Path) -> str:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not there: scripts/setup --dev")
    done = subprocess.run(
        ["systemd-analyze", *arguments], capture_output=True, text=True, timeout=60, cwd=cwd, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def installed(tmp_path: Path) -> Sequence[Path]:
    """The units, with this checkout in place of /opt/dubrelay."""
    made = []
    for unit in UNITS:
        copy = tmp_path / unit.name
        copy.write_text(unit.read_text("utf-8").replace("/opt/dubrelay", str(ROOT)), "utf-8")
        made.append(copy)
    return made


def test_systemd_takes_them(installed: Sequence[Path], tmp_path: Path) -> None:
    assert _analyzed("verify", *installed, cwd=tmp_path) == ""


@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.stem)
def test_they_are_confined(unit: Path, tmp_path: Path) -> None:
    said = _analyzed("security", "--offline=true", "--no-pager", unit, cwd=tmp_path)
    (exposure,) = re.findall(r"Overall exposure level for \S+ (\d+\.\d+)", said)
    assert float(exposure) <= EXPOSURE


@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.stem)
def test_they_start_a_command_there_is_and_leave_down_what_cannot_start(unit: Path) -> None:
    (start,) = _all(unit, "ExecStart")
    program, command, *arguments = start.split()
    commands = {c.name or c.callback.__name__ for c in app.registered_commands if c.callback}
    assert (program, command) == ("/opt/dubrelay/.venv/bin/dubrelay", unit.stem.removeprefix("dubrelay-"))
    assert command in commands
    assert arguments == ["--config", "/etc/dubrelay/dubrelay.toml"]
    assert _all(unit, "RestartPreventExitStatus") == [f"{ConfigError.exit_code} {StartupError.exit_code}"]
    assert _all(unit, "User") == ["dubrelay"]


@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.stem)
def test_their_environment_is_settings_and_has_no_secret(unit: Path) -> None:
    environ = dict(word.partition("=")[::2] for line in _all(unit, "Environment") for word in line.split())
    settings = config.load(None, {name: value for name, value in environ.items() if name.startswith("DUBRELAY_")})
    (state,) = _all(unit, "StateDirectory")
    assert str(settings.paths.state_dir) == f"/var/lib/{state}"
    assert not re.search(r"KEY|TOKEN|SECRET|PASSWORD", " ".join(environ))


def test_what_is_stopped_has_longer_than_its_own_parts() -> None:
    """The orchestrator stops its workers first, the service finishes what is inside."""
    settings = config.Settings()
    for unit in SERVICES:
        (given,) = _all(unit, "TimeoutStopSec")
        assert float(given) > settings.orchestrator.stop_timeout_s + settings.sts.drain_s + 3
