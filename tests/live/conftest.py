"""What every live test begins with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from media import MediaMtx


@pytest.fixture
def media(tmp_path: Path) -> Iterator[MediaMtx]:
    with MediaMtx(tmp_path) as server:
        yield server
