"""A file dubbed without servers: the worker's cutting and mixing, the STS service's pipeline, in one process.

    decode -> listen -> dub each phrase -> timeline -> encode beside the copied picture

Everything streams, so a file may be of any length. There is no deadline: every phrase is said by the quality voice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from dubrelay import models
from dubrelay.audio import Samples, samples_in, seconds
from dubrelay.config import AUTO, Settings
from dubrelay.errors import ConfigError, StsError
from dubrelay.ffmpeg import BLOCK, CONTAINERS, probe, reading, stream_of, writing
from dubrelay.sts import engines
from dubrelay.sts.pipeline import Pipeline
from dubrelay.sts.route import Engines
from dubrelay.wire import fragment
from dubrelay.wire.fragment import MAX_AUDIO_S, Audio, Context, Languages, ProcessRequest, ProcessResult
from dubrelay.worker.cut import Span
from dubrelay.worker.listen import Heard, Listener
from dubrelay.worker.separate import Separator
from dubrelay.worker.timeline import Timeline
from dubrelay.worker.vad import Vad

Progress = Callable[[float, float], None]
"""Seconds done, seconds in all."""

_OVERRUN_S = 1.0
"""How far a dub may reach into the pause after its phrase. More would sound calmer and look wrong."""
_LEAST_ROOM_S = 0.3
_KEPT_S = 4.0
_LONGEST_MS = 60_000


@dataclass
class Report:
    """What became of a file's phrases."""

    seconds: float = 0.0
    dubbed: int = 0
    no_speech: int = 0
    failed: int = 0
    original: int = 0
    """Dubbed, but too late behind their place, because the dubs before them were too long."""
    messages: list[str] = field(default_factory=list)
    """Why phrases failed, each reason once."""


def dub_file(
    settings: Settings,
    source: Path,
    out: Path,
    target: str,
    source_language: str,
    progress: Progress = lambda done, total: None,
) -> Report:
    """Writes `source` dubbed to `out`: as long, with the same picture, sound at 48 kHz stereo.

    `out` is there only when it is whole. ConfigError names what is wrong before anything is written.
    """
    length_s = _checked(source, out)
    quality_only = settings.sts.model_copy(update={"asr_fast": [], "mt_fast": [], "tts_fast": []})
    engines.check_names(quality_only)
    with closing(engines.load(quality_only, settings.paths)) as loaded:
        _require_route(loaded, source_language, target, settings.dub.voice)
        with (
            closing(Pipeline(loaded, quality_only)) as pipeline,
            writing(source, out) as sink,
            reading(source) as blocks,
        ):
            languages = Languages(
                source_language=source_language, target_language=target, voice_profile=settings.dub.voice
            )
            dubbing = Dubbing(settings, pipeline, languages)
            for samples in blocks:
                for dubbed in dubbing.push(samples):
                    sink.write(dubbed.tobytes())
                progress(seconds(dubbing.rendered), length_s)
            for dubbed in dubbing.end():
                sink.write(dubbed.tobytes())
            progress(length_s, length_s)
    return dubbing.report


def recordings(source: Path, out: Path) -> list[tuple[Path, Path]]:
    """What is to be dubbed into what: a file into a file, or those in a folder into a folder, under the same names."""
    if not source.is_dir():
        return [(source, out)]
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out}: is no folder, and {source} is one")
    found = sorted(file for file in source.iterdir() if file.is_file() and file.suffix.lower() in CONTAINERS)
    if not found:
        raise ConfigError(f"{source}: holds no file that ends in one of {' '.join(CONTAINERS)}")
    out.mkdir(parents=True, exist_ok=True)
    return [(file, out / file.name) for file in found]


def _require_route(loaded: Engines, source_language: str, target: str, voice: str) -> None:
    """For a file it is the user's choice that is wrong, not a phrase."""
    try:
        if source_language == AUTO:
            loaded.route_before_hearing(target, voice, None)
        else:
            loaded.route(source_language, target, voice)
    except StsError as e:
        raise ConfigError(e.message) from e


def _checked(source: Path, out: Path) -> float:
    """Length of the source in seconds."""
    if not source.is_file():
        raise ConfigError(f"{source}: there is no such file")
    if out.suffix.lower() not in CONTAINERS:
        raise ConfigError(f"{out}: the name must end in one of {' '.join(CONTAINERS)}")
    if out.exists() and out.samefile(source):
        raise ConfigError(f"{out}: is the file that is to be dubbed; write to another one")
    if not out.absolute().parent.is_dir():
        raise ConfigError(f"{out}: there is no folder {out.absolute().parent}")
    found = probe(source)
    if stream_of(found, "audio") is None:
        raise ConfigError(f"{source}: has no sound to dub")
    return float(found["format"].get("duration", 0))


class Dubbing:
    """Samples in, dubbed samples out, some seconds later; never more than that in memory."""

    def __init__(self, settings: Settings, pipeline: Pipeline, languages: Languages) -> None:
        paths, longest_s = settings.paths, settings.cut.max_phrase_s
        separator = Separator(models.deepfilternet(paths)) if settings.mix.separate else None
        self._listener = Listener(settings.cut, Vad(models.silero_vad(paths)), separator)
        ahead_s = _OVERRUN_S + longest_s + _KEPT_S  # a phrase is known when it has ended
        self._timeline = Timeline(settings.mix, settings.dub.fallback, 2 * longest_s + ahead_s + _KEPT_S)
        self._pipeline, self._languages = pipeline, languages
        self._ahead, self._behind = samples_in(ahead_s), samples_in(longest_s + _KEPT_S)
        self._waiting: deque[tuple[int, Span]] = deque()
        self._sequence = self._taken_in = self.rendered = 0
        self._context = Context()
        self.report = Report()

    def push(self, samples: Samples) -> Iterator[Samples]:
        self._timeline.write_original(self._taken_in, samples)
        heard = self._listener.push(self._taken_in, samples)
        self._taken_in += len(samples)
        self.report.seconds = seconds(self._taken_in)
        yield from self._advance(heard, at_end=False)

    def end(self) -> Iterator[Samples]:
        yield from self._advance(self._listener.flush(), at_end=True)

    def _advance(self, heard: Heard, at_end: bool) -> Iterator[Samples]:
        if heard.background is not None:
            self._timeline.write_background(heard.background_at, heard.background)
        for span in heard.spans:
            if span.speech:
                self._timeline.add(self._sequence, span)
                self._waiting.append((self._sequence, span))
                self._sequence += 1
        while self._waiting and (at_end or self._is_ripe()):
            self._dub(*self._waiting.popleft())
        yield from self._render(self._taken_in if at_end else self._settled())

    def _is_ripe(self) -> bool:
        """The first phrase that waits has all the room that it will ever be known to have."""
        return len(self._waiting) > 1 or self._taken_in - self._waiting[0][1].end > self._ahead

    def _settled(self) -> int:
        """No phrase will begin before it that is not dubbed yet."""
        ends = [self._taken_in - self._behind, *(span.start for _, span in self._waiting)]
        return min(ends)

    def _render(self, until: int) -> Iterator[Samples]:
        while self.rendered < until:
            count = min(BLOCK, until - self.rendered)
            yield self._timeline.render(self.rendered, count)
            self.rendered += count
        for decision in self._timeline.decided():
            self.report.dubbed += decision.status == "dubbed"
            self.report.no_speech += decision.status == "no_speech"
            self.report.original += decision.status == "fallback" and decision.reason == "deadline"

    def _dub(self, sequence: int, span: Span) -> None:
        try:
            result = self._pipeline.process(self._request(sequence, span))
        except StsError as e:
            self._timeline.failed(sequence, "error")
            self.report.failed += 1
            if e.message not in self.report.messages:
                self.report.messages.append(e.message)
            return
        if self._languages.source_language == AUTO:
            self._context = self._context.in_language(result.metadata.source_language, result.metadata.heard_language)
        if result.dubbed_audio is None:
            self._timeline.no_speech(sequence)
            return
        self._timeline.dubbed(sequence, result.dubbed_audio.to_mono(), result.dubbed_audio.sample_rate_hz)
        self._remember(sequence, result)

    def _request(self, sequence: int, span: Span) -> ProcessRequest:
        samples = self._timeline.phrase_audio(span)[: int(MAX_AUDIO_S * fragment.RATE_HZ)]
        return ProcessRequest(
            fragment_id=f"phrase-{sequence}",
            stream_id="file",
            sequence_number=sequence,
            audio=Audio.from_samples(samples, fragment.RATE_HZ),
            config=self._languages,
            context=self._context,
            max_duration_ms=min(_LONGEST_MS, round(1000 * self._room_s(sequence, span))),
            timeout_ms=_LONGEST_MS,
        )

    def _room_s(self, sequence: int, span: Span) -> float:
        """Up to the next phrase, or to where the sound ends; nobody speaks for long after the last phrase known."""
        heard_s = seconds(self._taken_in - span.voice_start)
        until_s = self._timeline.room_ms(sequence) / 1000 if self._waiting else heard_s
        return max(_LEAST_ROOM_S, min(until_s, seconds(len(span)) + _OVERRUN_S))

    def _remember(self, sequence: int, result: ProcessResult) -> None:
        self._context = self._context.followed_by(result.transcript, result.translated_text, sequence)
