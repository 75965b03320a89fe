"""Bypass mode does without arrays, models and HTTP: they would be half of its memory."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.service

_SESSION = """
import sys
from dubrelay.wire.worker import WorkerSettings
from dubrelay.worker import run, session
WorkerSettings(stream_id="x", run_id="r", input_url="rtmp://h/live/x/in", output_url="rtmp://h/live/x/out").to_json()
print([name for name in ("numpy", "httpx2", "onnxruntime", "soxr", "dubrelay.models") if name in sys.modules])
"""


def test_a_session_can_be_made_without_them() -> None:
    shown = subprocess.run([sys.executable, "-c", _SESSION], check=True, capture_output=True, text=True, timeout=60)
    assert shown.stdout.strip() == "[]"
