"""Neural networks as ONNX Runtime runs them, beside a live stream."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnxruntime as ort

from dubrelay.errors import StartupError, first_line

_FATAL = 4
"""What fails is raised, in one line; ONNX Runtime would also write it to stderr in its own words."""


def loaded(model: Path, what: str = "", threads: int = 1, *, arena: bool = True) -> Any:
    """A session on so many threads. StartupError names the file, and `what` it is, when it cannot be loaded.

    The arena keeps what the largest input so far needed. A large network is slow without it (Kokoro by two thirds); a
    small one is not, and what it holds stays the same.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = _FATAL
    options.enable_cpu_mem_arena = arena
    options.enable_mem_pattern = False  # a plan for each length of input there ever was
    # With spinning two threads are 5-10 % faster on a quiet machine; on a busy one they take a fifth more of it.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    except Exception as e:  # ONNX Runtime's own classes, one per status
        file = f"{model}: {what}" if what else str(model)
        raise StartupError(f"{file} cannot be loaded: {first_line(e)}") from e
