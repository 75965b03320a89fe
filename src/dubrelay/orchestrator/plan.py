"""What a worker is to do with a stream, from what the publisher sends and asks for. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qs

from pydantic import ValidationError

from dubrelay.config import InputProtocol, Mode, Publisher, Settings, StreamConfig, WayIn
from dubrelay.wire.control import Control
from dubrelay.wire.worker import WorkerSettings

VIDEO = "H264"
OTHER_VIDEO = frozenset({"H265", "AV1", "VP8", "VP9", "MPEG-4 Video", "MPEG-1/2 Video", "M-JPEG"})
"""Pictures that MediaMTX can read and the worker cannot; what else there is MediaMTX leaves out of its list."""
RTMP_AUDIO = frozenset({"MPEG-4 Audio", "MPEG-1/2 Audio"})
"""Audio that MediaMTX gives to every RTMP reader; what else there is it leaves out without a word."""
AUDIO = RTMP_AUDIO | {"Opus"}
"""What the worker has a decoder for (worker/source.py)."""
ASKED = {"lang": "target_language", "src": "source_language", "voice": "voice"}
"""What a publisher's query may choose, and which setting that is."""
_MAX_QUERY_FIELDS = 50
_SHOWN_CHARACTERS = 80
_GRACE_MARGIN_S = 10.0


@dataclass(frozen=True)
class Plan:
    """What only another worker can change: one whose plan has changed is replaced."""

    protocol: InputProtocol
    mode: Mode


@dataclass(frozen=True)
class Unsupported:
    """No worker can take this stream; `message` says why in one line."""

    message: str


def plan_for(codecs: Sequence[str], mode: Mode, preferred: WayIn) -> Plan | Unsupported:
    """`codecs` as MediaMTX names them, in the order of the tracks."""
    has = ", ".join(codecs) or "no tracks"
    audio = next((codec for codec in codecs if codec in AUDIO), None)
    if VIDEO not in codecs and OTHER_VIDEO.isdisjoint(codecs):
        return Unsupported(
            f"no H264 picture was found, MediaMTX lists {has}: set the encoder to H264; a picture that MediaMTX cannot "
            "read, such as AV1 in MPEG-TS, it drops"
        )
    if VIDEO not in codecs:
        return Unsupported(f"the picture must be H264, set the encoder to it; the publisher sends {has}")
    if audio is None and len(codecs) > 1:
        return Unsupported(f"the sound must be one of {', '.join(sorted(AUDIO))}; the publisher sends {has}")
    by_rtmp = audio is None or audio in RTMP_AUDIO  # without sound the output gets silence
    if preferred == "rtmp" and not by_rtmp:
        return Unsupported(f"worker.input = 'rtmp' cannot carry {audio}; set it to 'auto', 'srt' or 'rtsp'")
    if preferred == "auto":
        preferred = "rtmp" if by_rtmp else "srt"
    return Plan(preferred, mode)


def asked_in(query: str) -> tuple[dict[str, str], list[str]]:
    """What of ASKED a publisher's query names, as it stands there, and a warning where the query cannot be read."""
    try:
        fields = parse_qs(query, max_num_fields=_MAX_QUERY_FIELDS)
    except ValueError as e:
        return {}, [f"the query is not used: {e}"]
    return {name: fields[name][-1] for name in ASKED if name in fields}, []


def chosen(asked: Mapping[str, str], may: Publisher) -> tuple[StreamConfig, list[str]]:
    """The settings that a publisher chose, and a warning for each choice that is not valid or not allowed."""
    choice, warnings = StreamConfig(), []
    for name, value in asked.items():
        allowed: tuple[str, ...] | None = getattr(may, name)
        try:
            valid = StreamConfig.model_validate({ASKED[name]: value})
        except ValidationError:
            warnings.append(f"{name} = {value[:_SHOWN_CHARACTERS]!r} is not valid; it is not used")
            continue
        if allowed is None or value in allowed:
            choice = choice.under(valid)
        else:
            those = f"only {', '.join(allowed)}" if allowed else f"no {name} in the query"
            warnings.append(f"{name} = {value!r} is not used: publisher_{name} of this stream allows {those}")
    return choice, warnings


def in_force(settings: Settings, stream: StreamConfig) -> StreamConfig:
    """Every key with its value: `stream` over the sections of `settings`. Bypass mode has no dub and no break."""
    here = settings.for_stream(stream)
    programme = stream.programme or "dub"
    if here.worker.mode == "bypass" and programme != "silence":
        programme = "bypass"
    return StreamConfig(
        mode=here.worker.mode,
        programme=programme,
        **dict(here.dub),
        floor_gain_db=here.mix.floor_gain_db,
        original_gain_db=here.mix.original_gain_db,
        glossary=stream.glossary or (),
        record=is_recorded(settings, stream),
        publisher_lang=here.publisher.lang,
        publisher_src=here.publisher.src,
        publisher_voice=here.publisher.voice,
    )


def is_recorded(settings: Settings, stream: StreamConfig) -> bool:
    return settings.recording.enabled if stream.record is None else stream.record


def control_for(now: StreamConfig, wanted: StreamConfig) -> Control | None:
    """What a worker that runs as `now` says is to be told, so that it runs as wanted; None: nothing.

    Both have every key. In bypass mode a worker knows nothing but its programme.
    """
    live = ("programme",) if wanted.mode == "bypass" else Control.model_fields.keys() - {"id"}
    different = {key: getattr(wanted, key) for key in live if getattr(wanted, key) != getattr(now, key)}
    return Control.model_validate(different) if different else None


def worker_settings(
    settings: Settings, stream_id: str, run_id: str, plan: Plan, wanted: StreamConfig
) -> WorkerSettings:
    for_stream = WorkerSettings.for_stream(settings, stream_id, run_id, plan.protocol, wanted)
    changed = {
        "log": settings.log.model_copy(update={"format": "json"}),  # the supervisor reads it
        "worker": for_stream.worker.model_copy(update={"mode": plan.mode, "input_grace_s": _patience_s(settings)}),
    }
    return for_stream.model_copy(update=changed)


def _patience_s(settings: Settings) -> float:
    """How long a worker waits for input: longer than the grace, since it is the orchestrator who ends a session."""
    return max(settings.worker.input_grace_s, settings.orchestrator.grace_s + _GRACE_MARGIN_S)
