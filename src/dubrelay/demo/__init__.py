"""`dubrelay demo`: the whole chain on a sample programme or on the user's own recordings, shown and checked."""

from __future__ import annotations

from dubrelay.demo.live import run

__all__ = ["run"]
