"""Whether there is a GPU that CTranslate2 can compute with."""

from __future__ import annotations

import ctranslate2


def devices() -> int:
    """How many; none where the driver is broken or too old."""
    try:
        count: int = ctranslate2.get_cuda_device_count()
    except RuntimeError:
        return 0
    return count
