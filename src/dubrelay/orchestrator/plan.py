"""What a worker is to do with a stream, from what the publisher sends and asks for. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import parse_qs

from pydantic import ValidationError

from dubrelay.config import Dub, InputProtocol, Settings, WayIn
from dubrelay.wire.worker import WorkerSettings

VIDEO = "H264"
OTHER_VIDEO = frozenset({"H265", "AV1", "VP8", "VP9", "MPEG-4 Video", "MPEG-1/2 Video", "M-JPEG"})
"""Pictures that MediaMTX can read and the worker cannot; what else there is MediaMTX leaves out of its list."""
RTMP_AUDIO = frozenset({"MPEG-4 Audio", "MPEG-1/2 Audio"})
"""Audio that MediaMTX gives to every RTMP reader; what else there is it leaves out without a word."""
AUDIO = RTMP_AUDIO | {"Opus"}
"""What the worker has a decoder for (worker/source.py)."""
_ASKED = {"lang": "target_language", "src": "source_language", "voice": "voice"}
_MAX_QUERY_FIELDS = 50
_GRACE_MARGIN_S = 10.0


@dataclass(frozen=True)
class Plan:
    """How a stream is read and into what it is dubbed; a worker whose plan has changed is replaced."""

    protocol: InputProtocol
    dub: Dub


@dataclass(frozen=True)
class Unsupported:
    """No worker can take this stream; `message` says why in one line."""

    message: str


def plan_for(codecs: Sequence[str], dub: Dub, preferred: WayIn) -> Plan | Unsupported:
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
    return Plan(preferred, dub)


def dub_asked_for(query: str, default: Dub) -> tuple[Dub, list[str]]:
    """`default` with lang, src and voice of a publisher's query, and a warning for each that is not valid."""
    try:
        fields = parse_qs(query, max_num_fields=_MAX_QUERY_FIELDS)
    except ValueError as e:
        return default, [f"the query is not used: {e}"]
    warnings: list[str] = []
    values = default.model_dump()
    for name, key in _ASKED.items():
        if name in fields:
            asked = fields[name][-1]
            try:
                values = Dub.model_validate(values | {key: asked}).model_dump()
            except ValidationError:
                warnings.append(f"{name} = {asked[:80]!r} is not valid; using {values[key]!r}")
    return Dub.model_validate(values), warnings


def worker_settings(settings: Settings, stream_id: str, run_id: str, plan: Plan) -> WorkerSettings:
    changed = {
        "log": settings.log.model_copy(update={"format": "json"}),  # the supervisor reads it
        "worker": settings.worker.model_copy(update={"input_grace_s": _patience_s(settings)}),
        "dub": plan.dub,
    }
    return WorkerSettings.for_stream(settings, stream_id, run_id, plan.protocol).model_copy(update=changed)


def _patience_s(settings: Settings) -> float:
    """How long a worker waits for input: longer than the grace, since it is the orchestrator who ends a session."""
    return max(settings.worker.input_grace_s, settings.orchestrator.grace_s + _GRACE_MARGIN_S)
