"""Neural networks of the worker, as onnxruntime runs them: on one thread, beside a live stream."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnxruntime as ort

from dubrelay.errors import StartupError


def loaded(model: Path, what: str) -> Any:
    """An onnxruntime session. StartupError names the file, and `what` it is, when it cannot be loaded."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    except Exception as e:  # onnxruntime's own exceptions share no base class
        raise StartupError(f"{model}: {what} cannot be loaded: {e}") from e
