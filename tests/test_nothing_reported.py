"""What runs on one's own machine tells nobody: libraries that would report are kept from it before they are loaded."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.service


def test_onnx_runtime_neither_reports_nor_keeps_an_identifier(tmp_path: Path) -> None:
    program = "from dubrelay.worker import vad; import onnxruntime; print(onnxruntime.get_available_providers())"
    # By itself it does so from its import on, unless it finds that it runs in somebody's CI.
    environ = {"HOME": str(tmp_path), "PATH": os.environ["PATH"], "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    assert "CPUExecutionProvider" in done.stdout, done.stderr
    assert sorted(path.name for path in tmp_path.rglob("*")) == []
