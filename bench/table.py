"""What every bench prints: a table, a one-line summary, JSON if asked for, and its exit code."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))  # the same real MediaMTX, publisher and worker as in the tests


def arguments(description: str, **defaults: float | str) -> argparse.Namespace:
    """--json FILE, and a number for each of `defaults`."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    for name, value in defaults.items():
        parser.add_argument(f"--{name}", type=type(value), default=value, help=f"default {value}")
    return parser.parse_args()


def show(title: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Prints rows that have the same keys."""
    table = Table(title=title, title_justify="left")
    for key in rows[0] if rows else ():
        table.add_column(key, justify="left" if isinstance(rows[0][key], str) else "right")
    for row in rows:
        table.add_row(*(f"{value:.3g}" if isinstance(value, float) else str(value) for value in row.values()))
    _console().print(table)


def _console() -> Console:
    return Console(width=None if sys.stdout.isatty() else 150)


def finish(
    title: str,
    rows: Sequence[Mapping[str, Any]],
    summary: str,
    *,
    missed: bool,
    json_file: Path | None,
    also: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
) -> int:
    """Prints rows (all with the same keys) and the summary; 1 when a goal was missed; `also` is for the file only."""
    show(title, rows)
    _console().print(("MISSED: " if missed else "ok: ") + summary, highlight=False)
    if json_file is not None:
        figures = {"title": title, "rows": list(rows), "missed": missed, **(also or {})}
        json_file.write_text(json.dumps(figures, indent=1), encoding="utf-8")
    return int(missed)
