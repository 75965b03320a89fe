"""A viewer of a live stream who comes back when cut off, and remembers all that came and when."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from reader import Reader

from flv_publisher import AUDIO, FILE_HEADER, VIDEO, Tag


@dataclass
class View:
    """What one connection showed."""

    file: Path
    tags: list[tuple[float, int, int]] = field(default_factory=list)
    """(arrival by time.monotonic, kind, stamp in ms), without headers."""

    def arrivals(self, kind: int) -> list[float]:
        return [tag[0] for tag in self.tags if tag[1] == kind]

    @property
    def shown(self) -> bool:
        return any(tag[1] == VIDEO for tag in self.tags)


class Viewer(Reader):
    """with Viewer(url, directory) as viewer: ... viewer.views"""

    def __init__(self, url: str, directory: Path) -> None:
        super().__init__(url, self._keep)
        self._directory = directory
        self._all: list[View] = []

    @property
    def views(self) -> list[View]:
        """Connections that showed a picture."""
        return [view for view in self._all if view.shown]

    def _keep(self, at: float, connection: int, tag: Tag) -> None:
        if connection > len(self._all):
            self._all.append(View(self._directory / f"view{connection}.flv"))
            self._all[-1].file.write_bytes(FILE_HEADER)
        view = self._all[-1]
        with view.file.open("ab") as file:
            file.write(tag.to_bytes())
        if tag.kind in (AUDIO, VIDEO) and tag.data[1] == 1:  # AAC and AVC without their headers
            view.tags.append((at, tag.kind, tag.at_ms))
