"""The summary by kind at the end of a run (conftest.py)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.service


def _pytest(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    (folder / "conftest.py").write_text(Path(__file__).with_name("conftest.py").read_text("utf-8"))
    markers = "\n".join(f"    {kind}" for kind in ("unit", "service", "gst", "live", "browser"))
    (folder / "pytest.ini").write_text(f"[pytest]\nmarkers =\n{markers}\n")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=folder, check=False)


def test_each_kind_is_counted_and_a_skipped_kind_is_named(tmp_path: Path) -> None:
    (tmp_path / "test_a.py").write_text(
        "import pytest\n"
        "pytestmark = pytest.mark.unit\n"
        "def test_good(): pass\n"
        "def test_bad(): assert False\n"
        "@pytest.fixture\n"
        "def broken(): raise RuntimeError\n"
        "def test_ugly(broken): pass\n"
    )
    (tmp_path / "test_b.py").write_text(
        "import pytest\npytestmark = pytest.mark.live\ndef test_away(): pytest.skip('no server')\n"
    )
    done = _pytest(tmp_path)
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["unit", "1", "passed", "2", "failed", "0", "skipped"] in lines
    assert ["live", "0", "passed", "0", "failed", "1", "skipped"] in lines
    assert "kinds that were skipped: live" in done.stdout
    assert "kinds without a test in this run: service, gst, browser" in done.stdout
    assert done.stdout.splitlines()[-1].strip("= ").startswith("1 failed, 1 passed, 1 skipped, 1 error")


def test_a_module_without_a_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "test_a.py").write_text("def test_good(): pass\n")
    done = _pytest(tmp_path)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "needs pytestmark = pytest.mark.<unit|" in done.stderr
