"""How loud a phrase is over its time: what the page draws of its sounds."""

from __future__ import annotations

import base64

import numpy as np
import numpy.typing as npt

from dubrelay.wire.status import PEAK_MS, Peaks


def peaks(samples: npt.NDArray[np.float32], rate_hz: int) -> Peaks:
    """Of (n,) or (n, channels) samples in -1..1. The last byte may stand for less than PEAK_MS."""
    step = rate_hz * PEAK_MS // 1000
    if not len(samples):
        return ""
    loudest = np.maximum.reduceat(
        np.abs(samples).reshape(len(samples), -1).max(axis=1), np.arange(0, len(samples), step)
    )
    return base64.b64encode(np.round(np.clip(loudest, 0, 1) * 255).astype(np.uint8).tobytes()).decode()
