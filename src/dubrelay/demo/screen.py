"""The demo on the terminal: where to watch, each phrase when its fate is known, the summary."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console
from rich.table import Table
from rich.text import Text

from dubrelay.config import Settings
from dubrelay.demo.summary import SETTLED_S, Finding, Summary
from dubrelay.demo.usage import Share
from dubrelay.orchestrator.keys import Side
from dubrelay.wire.status import PhraseReport

_PLAIN_WIDTH = 100
_STAGES = ("asr", "mt", "tts", "fit")


def console() -> Console:
    """As wide as the terminal; plain text of 100 columns where there is none."""
    plain = Console(highlight=False)
    return plain if plain.is_terminal else Console(highlight=False, width=_PLAIN_WIDTH)


def addresses(out: Console, settings: Settings, stream_id: str, links: Mapping[Side, str]) -> None:
    """`links`: the query that opens a side, where one is needed."""
    media = settings.mediamtx
    original, dubbed = (f"?{links[side]}" if side in links else "" for side in ("in", "out"))
    out.print()
    for what, url in (
        ("original", media.input_url(stream_id, "rtmp") + original),
        ("dubbed", media.output_url(stream_id) + dubbed),
        ("in a browser", f"http://{media.host}:{media.hls_port}/live/{stream_id}/out/{dubbed}"),
        ("status page", settings.orchestrator.url),
    ):
        # Whole, however long: to be pasted into ffplay, VLC or a browser.
        out.print(f"{what:<13}{url}", soft_wrap=True, markup=False)
    out.print(f"The dubbed stream is {settings.worker.latency_s:g} s behind the original. Ctrl-C ends all of it.\n")


def phrase(out: Console, report: PhraseReport, at_s: float) -> None:
    """Three lines at most; `at_s` is where in the programme it was spoken."""
    stamp = f"{int(at_s // 60):3}:{at_s % 60:04.1f}"
    if report.status == "no_speech":
        why = f" ({', '.join(report.notes)})" if report.notes else ""
        out.print(Text(f"{stamp}  no words heard{why}, the original stays", "dim"))
        return
    out.print(_line(stamp, "heard", report.transcript or "-"))
    if report.status == "dubbed":
        out.print(_line("", "said", report.translated_text, "bold green"))
    else:
        out.print(_line("", "original", _why(report), "bold yellow"))
    out.print(_line("", "", _figures(report), "dim"))


def _line(stamp: str, label: str, text: str, style: str = "") -> Table:
    line = Table.grid(padding=(0, 1))
    line.add_column(width=8)
    line.add_column(width=8, style="dim")
    line.add_column(overflow="fold")
    line.add_row(stamp, label, Text(text, style))
    return line


def _why(report: PhraseReport) -> str:
    return f"stays: {report.reason}" + (f", {report.message}" if report.message else "")


def _figures(report: PhraseReport) -> str:
    known = {**{stage: report.stage_ms[stage] for stage in _STAGES if stage in report.stage_ms}}
    known |= {stage: ms for stage, ms in report.stage_ms.items() if stage not in known}
    parts = [f"{report.duration_ms / 1000:.1f} s spoken"]
    if report.rtt_ms is not None:
        stages = ", ".join(f"{stage} {ms / 1000:.2f}" for stage, ms in known.items())
        parts.append(f"{report.rtt_ms / 1000:.2f} s to dub" + (f" ({stages})" if stages else ""))
    if report.margin_ms is not None:
        parts.append(f"margin {report.margin_ms / 1000:.1f} s")
    if report.tempo is not None:
        parts.append(f"tempo {report.tempo:.2f}")
    if report.lag_ms:
        parts.append(f"{report.lag_ms / 1000:.1f} s late in place")
    if report.voice:
        parts.append(report.voice)
    return " · ".join([*parts, *report.notes])


def summary(out: Console, found: Summary, shares: list[Share]) -> None:
    out.print(f"\n[bold]Summary[/bold] (phrases spoken after the first {SETTLED_S:g} s)")
    table = Table.grid(padding=(0, 2))
    for label, value in found.rows():
        table.add_row(label, value)
    for share in shares:
        table.add_row(share.name, f"{share.cores:.2f} core, {share.peak_mb:.0f} MB")
    out.print(table)


def findings(out: Console, found: list[Finding]) -> None:
    table = Table.grid(padding=(0, 2))
    for finding in found:
        bad = Text("BAD", "bold red") if finding.needed else Text("note", "yellow")
        mark = Text("good", "green") if finding.good else bad
        table.add_row(mark, finding.what, finding.how)
    out.print("\n[bold]The recording, listened to[/bold]")
    out.print(table)
