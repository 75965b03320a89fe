"""What a demo run came to, in figures."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from dubrelay.wire.status import PhraseReport

SETTLED_S = 15.0
"""What is spoken earlier meets a chain that is still starting."""
FAST_VOICES = ("espeak",)


@dataclass(frozen=True)
class Finding:
    """One thing looked for in the recording."""

    what: str
    good: bool
    how: str
    needed: bool = True
    """Whether the demo has failed without it."""


@dataclass
class Summary:
    """Filled while the programme runs; times of phrases are seconds of the programme."""

    recording: Path
    phrases: list[tuple[float, PhraseReport]] = field(default_factory=list)
    delays_ms: list[float] = field(default_factory=list)
    av_syncs_ms: list[float] = field(default_factory=list)

    @property
    def settled(self) -> list[PhraseReport]:
        """Of the phrases with words in them, those after the start."""
        return [report for at_s, report in self.phrases if at_s >= SETTLED_S and report.status != "no_speech"]

    @property
    def dubbed(self) -> list[PhraseReport]:
        return [report for _, report in self.phrases if report.status == "dubbed"]

    @property
    def last_failure(self) -> str:
        failed = [report for _, report in self.phrases if report.reason]
        return f"The last one: {failed[-1].reason}, {failed[-1].message}" if failed else "No speech was found."

    def measured(self, delay_ms: float | None, av_sync_ms: float | None) -> None:
        if delay_ms is not None:
            self.delays_ms.append(delay_ms)
        if av_sync_ms is not None:
            self.av_syncs_ms.append(av_sync_ms)

    def rows(self) -> list[tuple[str, str]]:
        settled = self.settled
        on_time = [report for report in settled if report.status == "dubbed"]
        neural = [report for report in on_time if not report.voice.startswith(FAST_VOICES)]
        rows = [
            ("dubbed on time", _share(len(on_time), len(settled))),
            ("of them in the quality voice", _share(len(neural), len(on_time))),
        ]
        reasons = Counter(report.reason for report in settled if report.reason)
        if reasons:
            rows.append(("left original", ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())))
        margins = [report.margin_ms / 1000 for report in on_time if report.margin_ms is not None]
        rows.append(("margin to the deadline", _spread(margins, "s", min, "least")))
        rows.append(("delay in to out", _spread([ms / 1000 for ms in self.delays_ms], "s", max, "most")))
        rows.append(("sound against picture", _spread(self.av_syncs_ms, "ms", _farthest, "most")))
        rows.append(("phrases in all", f"{len(self.phrases)}, {len(self.dubbed)} dubbed"))
        rows.append(("recording", str(self.recording)))
        return rows


def _share(part: int, whole: int) -> str:
    return f"{part} of {whole} ({100 * part / whole:.0f} %)" if whole else "none"


def _farthest(values: list[float]) -> float:
    return max(values, key=abs)


def _spread(values: list[float], unit: str, extreme: object, word: str) -> str:
    assert callable(extreme)
    if not values:
        return "not measured"
    return f"{median(values):.2f} {unit} median, {extreme(values):.2f} {unit} {word}"
