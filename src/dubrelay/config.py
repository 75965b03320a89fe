"""Settings: read once per process from defaults, a TOML file, the environment and flags, in rising order.

`deploy/dubrelay.toml` is the annotated reference of every key. Environment variables are DUBRELAY_SECTION__KEY.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)

from dubrelay.allowed import allowed
from dubrelay.destination import Target, target
from dubrelay.errors import ConfigError

ENV_PREFIX = "DUBRELAY_"
_NOT_SETTINGS = {
    "DUBRELAY_PYTHON",
    "DUBRELAY_HOOK",
    "DUBRELAY_HOOK_URL",
    "DUBRELAY_HOOK_TOKEN",
    "DUBRELAY_HOOK_CERTIFICATE",
}
"""What MediaMTX's hooks are told (deploy/mediamtx.yml)."""

_SHOWN_CHARACTERS = 200
_SHOWN_PROBLEMS = 20
_SECRET_KEY = re.compile(r"(key|token|secret)$|(^|\.)destinations(\.|$)|^alerts\.webhooks(\.\d+)?(\.url)?$")
_BEARER_KEY = re.compile(r"[!-~]*")

Port = Annotated[int, Field(ge=1, le=65535)]
Language = Annotated[
    str, Field(pattern=r"^[a-z]{2,3}(-[a-z0-9]{2,8})?$", description="a language code such as en or pt-br")
]
AUTO = "auto"
SourceLanguage = Annotated[
    str,
    Field(
        pattern=r"^(auto|[a-z]{2,3}(-[a-z0-9]{2,8})?)$",
        description="a language code such as en or pt-br, or auto for whatever is spoken",
    ),
]
STREAM_ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"
STREAM_ID_IS = "1 to 64 letters, digits, _ and -, the first one a letter or digit"
StreamId = Annotated[str, Field(pattern=STREAM_ID_PATTERN, description=STREAM_ID_IS)]
Voice = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}(/[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63})?$",
        description="1 to 64 letters, digits, _ . and -, or two such names with / between",
    ),
]
"""NAME, or NAME/SPEAKER of a voice that has several."""
GainDb = Annotated[float, Field(ge=-100, le=0)]
"""-100 is nothing at all."""
ServiceUrl = Annotated[
    str,
    Field(
        pattern=r"^https?://[^\s/?#@]+(/[^\s?#]*)?$",
        description="an http or https URL without user and query, such as http://127.0.0.1:8000",
    ),
]
"""What a pattern allows is said by its description where a value is refused."""


_NOT_WRITTEN = r"\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069"
"""Control characters, other ends of lines, and what turns the direction of writing for all that follows."""


class Term(BaseModel):
    """How a word or name is to be said."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str = Field(
        max_length=100,
        pattern=rf"^[^{_NOT_WRITTEN}]*[^\s{_NOT_WRITTEN}][^{_NOT_WRITTEN}]*$",
        description="1 to 100 characters, not only spaces, none of them a control character",
    )
    target: str = Field(
        "",
        max_length=100,
        pattern=rf"^[^{_NOT_WRITTEN}]*$",
        description="at most 100 characters, none of them a control character",
    )
    """Empty: as the source."""


Glossary = Annotated[tuple[Term, ...], Field(max_length=200)]
Mode = Literal["dub", "bypass"]
Programme = Literal["dub", "bypass", "silence", "break"]
"""What goes out: the dub, the original as it came, nothing, the original while nothing is dubbed."""
InputProtocol = Literal["rtmp", "rtsp", "srt"]
WayIn = Literal["auto", InputProtocol]
Fallback = Literal["original", "background", "ducked", "silence"]


def _names_something(value: object) -> object:
    if value == "":
        raise ValueError('must not be empty; the current folder is "."')
    if isinstance(value, str) and "\0" in value:
        raise ValueError("must not hold a NUL character")
    return value


NamedPath = Annotated[Path, BeforeValidator(_names_something)]


def _can_be_sent(key: SecretStr) -> SecretStr:
    if not _BEARER_KEY.fullmatch(key.get_secret_value()):
        raise ValueError("must be of visible ASCII characters, without spaces")
    return key


BearerKey = Annotated[SecretStr, AfterValidator(_can_be_sent)]


def is_loopback(host: str) -> bool:
    """Whether a server listening on `host` can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


INTERNAL_USER = "internal"
"""Whom our own parts call themselves to MediaMTX; the password is `orchestrator.internal_secret`."""
_TOKEN = re.compile(r"([A-Za-z0-9_-]{16,512})?")


def _token(secret: SecretStr) -> SecretStr:
    if not _TOKEN.fullmatch(secret.get_secret_value()):
        raise ValueError("must be 16 to 512 letters, digits, _ and -, such as `openssl rand -hex 24` prints")
    return secret


Token = Annotated[SecretStr, AfterValidator(_token)]
"""One that needs no encoding in a URL; empty: none."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class Log(_Section):
    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "text"] = "auto"


class Paths(_Section):
    state_dir: NamedPath = Path("var")
    models_dir: NamedPath | None = None
    catalogue: NamedPath | None = None


def _both(tls_cert: Path | None, tls_key: Path | None) -> None:
    if (tls_cert is None) != (tls_key is None):
        lacks = "tls_cert" if tls_cert is None else "tls_key"
        raise ValueError(f"tls_cert and tls_key go together: {lacks} is not set")


class MediaMtx(_Section):
    binary: str = ""
    host: str = "127.0.0.1"
    rtmp_port: Port = 1935
    rtmps_port: Port = 1936
    rtsp_port: Port = 8554
    hls_port: Port = 8888
    srt_port: Port = 8890
    webrtc_port: Port = 8889
    api_port: Port = 9997
    metrics_port: Port = 9998
    log_level: Literal["info", "warn", "error"] = "info"
    tls_cert: Path | None = None
    tls_key: Path | None = None

    def input_url(self, stream_id: str, protocol: InputProtocol, secret: str = "") -> str:
        """Where a worker reads; with the internal secret in it, if there is one."""
        path = f"live/{stream_id}/in"
        if protocol == "srt":
            given = f":{INTERNAL_USER}:{secret}" if secret else ""
            return f"srt://{self.host}:{self.srt_port}?streamid=read:{path}{given}"
        if protocol == "rtsp":
            given = f"{INTERNAL_USER}:{secret}@" if secret else ""
            return f"rtsp://{given}{self.host}:{self.rtsp_port}/{path}"
        return self._rtmp_url(path, secret)

    def output_url(self, stream_id: str, secret: str = "") -> str:
        """Where a worker publishes."""
        return self._rtmp_url(f"live/{stream_id}/out", secret)

    def languages_url(self, stream_id: str, secret: str = "") -> str:
        """Where a worker publishes the output with both sounds."""
        return self._rtmp_url(f"live/{stream_id}/languages", secret)

    def _rtmp_url(self, path: str, secret: str) -> str:
        given = f"?user={INTERNAL_USER}&pass={secret}" if secret else ""
        return f"rtmp://{self.rtmp_host}:{self.rtmp_port}/{path}{given}"

    @property
    def rtmp_host(self) -> str:
        """Of plain RTMP, which never leaves this machine where there is RTMPS."""
        return "127.0.0.1" if self.tls_cert else self.host

    @property
    def api_url(self) -> str:
        return f"http://{self.host}:{self.api_port}"

    @property
    def hls_url(self) -> str:
        return f"http://{self.host}:{self.hls_port}"

    @model_validator(mode="after")
    def _tls_whole(self) -> Self:
        _both(self.tls_cert, self.tls_key)
        return self


class Orchestrator(_Section):
    host: str = "127.0.0.1"
    port: Port = 8080
    tls_cert: Path | None = None
    tls_key: Path | None = None
    allowed_hosts: list[str] = []
    api_token: Token = SecretStr("")
    hook_token: SecretStr = SecretStr("")
    internal_secret: Token = SecretStr("")
    poll_interval_s: float = Field(1.0, gt=0, le=10)
    grace_s: float = Field(30.0, ge=0, le=3600)
    ready_timeout_s: float = Field(20.0, gt=0, le=300)
    heartbeat_timeout_s: float = Field(15.0, gt=0, le=300)
    stop_timeout_s: float = Field(5.0, gt=0, le=60)
    max_streams: int = Field(20, ge=1, le=1000)
    worker_memory_mb: int = Field(1000, ge=0, le=1_000_000)

    @property
    def url(self) -> str:
        return f"{'https' if self.tls_cert else 'http'}://{self.host}:{self.port}"

    @model_validator(mode="after")
    def _tls_whole(self) -> Self:
        _both(self.tls_cert, self.tls_key)
        return self


HostPattern = Annotated[
    str,
    Field(pattern=r"^(\*\.)?[A-Za-z0-9]([A-Za-z0-9._-]{0,252})$", description="a host name, or *.domain for all below"),
]


class Egress(_Section):
    publisher_hosts: list[HostPattern] = Field([], max_length=100)


AlertName = Literal[
    "MediaMtxDown", "StsDown", "StreamDown", "StreamRefused", "PublisherGone", "WorkersRestart", "DubDead", "SilentDub",
    "GhostDub", "FallbackRate", "BreakerOpen", "DelayMarginLow", "AvSyncOff", "Reconnects", "EgressDown", "EgressStuck",
    "RecordingStopped", "MemoryGrowth", "SilentInput", "Clipping",
]  # fmt: skip
"""What the orchestrator alerts of (orchestrator/conditions.py); Prometheus' rules have the same names."""

WebhookFormat = Literal["json", "slack"]
MAX_WEBHOOKS = 16
_WEBHOOK_URL = re.compile(r"https?://[^/?#@]+([/?][^#]*)?", re.IGNORECASE)


class Webhook(_Section):
    """Who is told of alerts. The URL is the secret: whoever has it can write there."""

    name: Annotated[
        str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$", description="1 to 32 lower-case letters, digits and -")
    ]
    url: SecretStr | None = None
    url_file: NamedPath | None = None
    """A file that holds the URL and nothing else."""
    format: WebhookFormat = "json"
    rules: Annotated[tuple[AlertName, ...], Field(min_length=1)] | None = None
    """None: all."""
    send_resolved: bool = True

    @field_validator("url")
    @classmethod
    def _can_be_posted_to(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None:
            webhook_host(url.get_secret_value())
        return url

    @model_validator(mode="after")
    def _one_url(self) -> Self:
        if (self.url is None) == (self.url_file is None):
            raise ValueError("url or url_file must be set, and not both")
        return self


def webhook_host(url: str) -> str:
    """Host and port, which may be shown. ValueError, in words without the URL, when nothing can be posted there."""
    problem = "must be an http or https URL of up to 2000 ASCII characters, without a user and without #"
    if not re.fullmatch(r"[!-~]{1,2000}", url) or not _WEBHOOK_URL.fullmatch(url):
        raise ValueError(problem)
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError(problem) from None
    if not host or port == 0:
        raise ValueError(problem)
    return f"{host}:{port}" if port else host


class Alerts(_Section):
    """What the orchestrator itself says of what somebody should look at (docs/alerts.md)."""

    resolve_after_s: float = Field(60.0, ge=0, le=3600)
    webhooks: Annotated[tuple[Webhook, ...], Field(max_length=MAX_WEBHOOKS)] = ()

    @field_validator("webhooks")
    @classmethod
    def _each_name_once(cls, webhooks: tuple[Webhook, ...]) -> tuple[Webhook, ...]:
        if len({webhook.name for webhook in webhooks}) < len(webhooks):
            raise ValueError("each webhook needs a name of its own")
        return webhooks


Readers = Literal["open", "key"]
Role = Literal["viewer", "operator", "admin"]
"""Of an API token; each may what those before it may."""


class Access(_Section):
    """Who may publish and who may watch (orchestrator/access.py)."""

    publishers: Literal["key", "open"] = "key"
    readers: Readers = "open"
    internal_networks: list[str] = []
    failures_per_minute: int = Field(20, ge=1, le=10_000)

    @field_validator("internal_networks")
    @classmethod
    def _networks(cls, networks: list[str]) -> list[str]:
        for network in networks:
            try:
                ip_network(network)
            except ValueError:
                raise ValueError(f"{network!r} is no network such as 10.0.3.0/24 or fd00::/64") from None
        return networks


class Worker(_Section):
    mode: Mode = "dub"
    input: WayIn = "auto"
    latency_s: float = Field(8.0, ge=1, le=60)
    bypass_latency_s: float = Field(1.0, ge=0.6, le=60)
    input_grace_s: float = Field(30.0, gt=0, le=3600)
    audio_bitrate_kbps: int = Field(128, ge=32, le=512)
    slate: Path | None = None


class Out(_Section):
    """What is published of a dubbed stream."""

    keep_original: bool = False
    """Beside the output, as a second track at a path of its own (worker/languages.py)."""


class Dub(_Section):
    source_language: SourceLanguage = "en"
    target_language: Language = "es"
    voice: Voice = "default"
    fallback: Fallback = "original"


Languages = Annotated[tuple[Language, ...], Field(max_length=100)]


class Publisher(_Section):
    """What a publisher's query may choose. None: anything; empty: nothing; else one of these."""

    lang: Languages | None = None
    src: Annotated[tuple[SourceLanguage, ...], Field(max_length=100)] | None = None
    voice: Annotated[tuple[Voice, ...], Field(max_length=100)] | None = None


class Cut(_Section):
    pause_s: float = Field(0.32, ge=0.1, le=2)
    short_pause_s: float = Field(0.19, ge=0.05, le=2)
    short_pause_after_s: float = Field(2.6, ge=0.4, le=20)
    max_phrase_s: float = Field(4.0, ge=1, le=20)
    min_voiced_s: float = Field(0.4, ge=0.1, le=2)
    pre_roll_s: float = Field(0.25, ge=0.05, le=1)


class Mix(_Section):
    separate: bool = True
    floor_gain_db: GainDb = 0.0
    original_gain_db: GainDb = -100.0
    duck_gain_db: float = Field(-15.0, ge=-60, le=0)
    crossfade_ms: float = Field(20.0, ge=5, le=100)
    max_lag_s: float = Field(1.5, ge=0, le=10)


class Trace(_Section):
    """What the worker keeps of its phrases on disk, in rings (wire/trace.py)."""

    phrases: int = Field(500, ge=0, le=100_000)
    sounds: bool = False
    max_mb: int = Field(200, ge=1, le=100_000)


def _without_percent(path: Path | None) -> Path | None:
    if path is not None and "%" in str(path):
        raise ValueError("must not hold a %, which MediaMTX takes for a part of the time")
    return path


class Recording(_Section):
    """What goes out, as files that MediaMTX writes (orchestrator/recording.py)."""

    enabled: bool = False
    directory: Annotated[NamedPath | None, AfterValidator(_without_percent)] = None
    segment_s: int = Field(600, ge=1, le=43_200)
    max_total_mb: int = Field(20_000, ge=1, le=100_000_000)
    when_full: Literal["delete-oldest", "stop"] = "delete-oldest"
    min_free_mb: int = Field(1000, ge=10, le=100_000_000)
    captions: bool = True


class StsClient(_Section):
    urls: list[ServiceUrl] = Field(["http://127.0.0.1:8000"], min_length=1)
    key: BearerKey = SecretStr("")
    ca_file: NamedPath | None = None
    timeout_s: float = Field(8.0, gt=0, le=60)
    retries: int = Field(1, ge=0, le=3)
    max_in_flight: int = Field(4, ge=1, le=32)
    breaker_failures: int = Field(5, ge=1, le=100)
    breaker_open_s: float = Field(30.0, ge=0.1, le=600)
    cost_per_hour: float = Field(0.0, ge=0, le=1_000_000)

    @field_validator("urls")
    @classmethod
    def _each_once(cls, urls: list[str]) -> list[str]:
        if len({url.rstrip("/") for url in urls}) < len(urls):
            raise ValueError("each service may be named only once")
        return urls


class StsMock(_Section):
    """What the mock synthesiser says: a tone as long as the phrase, or the phrase itself."""

    voice: Literal["tone", "pass-through"] = "tone"


Garbage = Literal[
    "wrong-rate", "wrong-length", "half-a-sample", "not-base64", "silence", "noise", "other-fragment", "no-sound",
    "html", "cut-off", "nan", "empty", "deep", "huge",
]  # fmt: skip
"""What sts/faults.py can answer instead of a dub."""


class StsFaults(_Section):
    """What is put in between the service's engines, mock or real, and its client; all seeded (contracts, section 3)."""

    delay_ms: int = Field(0, ge=0, le=60_000)
    jitter_ms: int = Field(0, ge=0, le=60_000)
    fail_rate: float = Field(0.0, ge=0, le=1)
    hang_rate: float = Field(0.0, ge=0, le=1)
    fail_status: list[Literal[400, 401, 413, 422, 429, 500, 502, 503, 504]] = Field([500], min_length=1)
    garbage_rate: float = Field(0.0, ge=0, le=1)
    garbage: list[Garbage] = Field(["wrong-rate", "wrong-length", "half-a-sample", "not-base64"], min_length=1)
    drip_rate: float = Field(0.0, ge=0, le=1)
    seed: int = 0

    @property
    def present(self) -> bool:
        rates = (self.fail_rate, self.hang_rate, self.garbage_rate, self.drip_rate)
        return any((self.delay_ms, self.jitter_ms, *rates))


Device = Literal["cpu", "cuda"]
EngineName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")]


class _Engine(_Section):
    """How one engine of the STS service is made: `kind`, and what that kind lets one choose."""

    languages: list[Language] | None = None
    """Only these of those that it knows. Of a translator: those that it translates to."""
    workers: int | None = Field(None, ge=1, le=64)
    """Calls at once; None: as many as the engine says."""


class MockEngine(_Engine):
    kind: Literal["mock"] = "mock"


class ChainEngine(_Engine):
    """Others one after the other, until one of them gives an answer."""

    kind: Literal["chain"] = "chain"
    engines: list[EngineName] = Field(min_length=1, max_length=8)


class WhisperEngine(_Engine):
    """`model`: whisper-tiny.en, whisper-base, or the folder of any Whisper model that CTranslate2 reads."""

    kind: Literal["whisper"] = "whisper"
    model: str
    device: Device = "cpu"
    compute_type: Literal["auto", "int8", "int8_float16", "float16", "float32"] = "auto"
    """auto: int8 on a CPU, float16 on CUDA."""
    beams: int = Field(5, ge=1, le=10)
    threads: int | None = Field(None, ge=1, le=64)
    """None: sts.asr_threads."""


class OpenAiEngine(_Engine):
    """What each engine behind an OpenAI-compatible API has; `url` is what stands before /v1/."""

    url: ServiceUrl
    model: str = Field(min_length=1, max_length=200)
    key: SecretStr = SecretStr("")
    ca_file: NamedPath | None = None
    timeout_s: float = Field(8.0, gt=0, le=60)


class TranscriptionEngine(OpenAiEngine):
    """/v1/audio/transcriptions, and /v1/audio/translations where `translate` says that the service has it."""

    kind: Literal["openai-transcription"] = "openai-transcription"
    translate: bool = False
    response_format: Literal["verbose_json", "json"] = "verbose_json"


class ToEnglishEngine(_Engine):
    """The recogniser itself hears speech as English: no translator is asked."""

    kind: Literal["whisper-to-english"] = "whisper-to-english"


class ApertiumEngine(_Engine):
    kind: Literal["apertium"] = "apertium"


class CTranslate2Engine(_Engine):
    """`model`: the folder of a Marian, NLLB or M2M-100 model that CTranslate2 reads, with its sentencepiece files."""

    kind: Literal["ctranslate2"] = "ctranslate2"
    model: str
    family: Literal["auto", "marian", "nllb", "m2m100"] = "auto"
    pairs: list[tuple[Language, Language]] = []
    """(source, target); empty: what the model itself names."""
    device: Device = "cpu"
    compute_type: Literal["int8", "int8_float16", "float16", "float32"] = "int8"
    beams: int = Field(4, ge=1, le=10)
    threads: int = Field(1, ge=1, le=64)


class OpenAiChatEngine(OpenAiEngine):
    kind: Literal["openai-chat"] = "openai-chat"
    max_tokens: int = Field(512, ge=16, le=32_768)


class KokoroEngine(_Engine):
    kind: Literal["kokoro"] = "kokoro"
    voices: NamedPath | None = None
    pace: float | None = Field(None, ge=0.8, le=1.3)
    """How fast tempo 1 is, against the model's own speed. None: 1.2 for the bundled voices, else 1."""


class PiperEngine(_Engine):
    kind: Literal["piper"] = "piper"
    voices: NamedPath
    noise_scale: float | None = Field(None, ge=0, le=2)
    noise_w: float | None = Field(None, ge=0, le=2)


class OpenAiSpeechEngine(OpenAiEngine):
    """`voices` by language, the default one first, as the service calls them."""

    kind: Literal["openai-speech"] = "openai-speech"
    voices: dict[Language, Annotated[list[Voice], Field(min_length=1)]] = Field(min_length=1)
    response_format: Literal["pcm", "wav"] = "wav"
    rate_hz: int = Field(24_000, ge=8000, le=48_000)
    speed: bool = True


class HibariEngine(_Engine):
    kind: Literal["hibari"] = "hibari"


class EspeakEngine(_Engine):
    kind: Literal["espeak-ng"] = "espeak-ng"


Engine = (
    MockEngine
    | ChainEngine
    | WhisperEngine
    | TranscriptionEngine
    | ApertiumEngine
    | CTranslate2Engine
    | OpenAiChatEngine
    | ToEnglishEngine
    | KokoroEngine
    | PiperEngine
    | OpenAiSpeechEngine
    | HibariEngine
    | EspeakEngine
)


class Sts(_Section):
    host: str = "127.0.0.1"
    port: Port = 8000
    key: BearerKey = SecretStr("")
    keys_file: NamedPath | None = None
    requests_per_minute_per_key: int = Field(0, ge=0, le=100_000)
    tls_cert: NamedPath | None = None
    tls_key: NamedPath | None = None
    asr: list[str] = Field(["whisper-tiny.en", "whisper-base"], min_length=1)
    mt: list[str] = Field(["apertium"], min_length=1)
    tts: list[str] = Field(["kokoro", "hibari"], min_length=1)
    asr_fast: list[str] = []
    mt_fast: list[str] = []
    tts_fast: list[str] = ["espeak-ng"]
    engines: dict[EngineName, Annotated[Engine, Field(discriminator="kind")]] = {}
    asr_threads: int = Field(1, ge=1, le=64)
    tts_threads: int = Field(2, ge=1, le=64)
    preferred_tempo: float = Field(1.25, ge=1, le=2)
    max_tempo: float = Field(1.45, ge=1, le=2)
    min_tempo: float = Field(1.0, ge=0.5, le=1)
    loudness_lufs: float = Field(-23.0, ge=-40, le=-10)
    max_queue: int = Field(16, ge=1, le=1000)
    remember_s: float = Field(30.0, ge=0, le=3600)
    remember_mb: int = Field(64, ge=1, le=100_000)
    drain_s: float = Field(5.0, ge=0, le=300)
    cost_per_hour: float = Field(0.0, ge=0, le=1_000_000)
    mock: StsMock = StsMock()
    faults: StsFaults = StsFaults()

    @property
    def url(self) -> str:
        return f"{'https' if self.tls_cert else 'http'}://{self.host}:{self.port}"

    @model_validator(mode="after")
    def _key_off_loopback(self) -> Self:
        if not is_loopback(self.host) and not self.key.get_secret_value() and self.keys_file is None:
            raise ValueError("key is required (or keys_file) when host is not a loopback address")
        return self

    @model_validator(mode="after")
    def _tls_whole(self) -> Self:
        _both(self.tls_cert, self.tls_key)
        return self


MAX_DESTINATIONS = 16
DestinationName = Annotated[
    str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$", description="1 to 32 lower-case letters, digits and -")
]


class Destination(_Section):
    """Where `out` is forwarded to. `url` holds the key that the destination gave."""

    name: DestinationName
    url: SecretStr

    @field_validator("url")
    @classmethod
    def _forwardable(cls, url: SecretStr) -> SecretStr:
        target(url.get_secret_value())
        return url

    @property
    def target(self) -> Target:
        return target(self.url.get_secret_value())


class StreamConfig(_Section):
    """What may be different for one stream. None: as the sections, or the layer below, say."""

    mode: Mode | None = None
    programme: Programme | None = None
    source_language: SourceLanguage | None = None
    target_language: Language | None = None
    voice: Voice | None = None
    fallback: Fallback | None = None
    floor_gain_db: GainDb | None = None
    original_gain_db: GainDb | None = None
    glossary: Glossary | None = None
    record: bool | None = None
    publisher_lang: Languages | None = None
    publisher_src: Annotated[tuple[SourceLanguage, ...], Field(max_length=100)] | None = None
    publisher_voice: Annotated[tuple[Voice, ...], Field(max_length=100)] | None = None

    def set_keys(self) -> dict[str, Any]:
        """Its keys that are set, with their values."""
        return {key: value for key in StreamConfig.model_fields if (value := getattr(self, key)) is not None}

    def under(self, upper: StreamConfig) -> Self:
        """This one with what `upper` sets laid over it, key by key."""
        return self.model_copy(update=upper.set_keys())


NOTHING_SET = StreamConfig()


class Stream(StreamConfig):
    """A table [streams.ID]: what is different for a stream, who may watch it, and where its `out` is forwarded to."""

    readers: Readers | None = None
    destinations: Annotated[tuple[Destination, ...], Field(max_length=MAX_DESTINATIONS)] = ()

    @field_validator("destinations")
    @classmethod
    def _each_name_once(cls, destinations: tuple[Destination, ...]) -> tuple[Destination, ...]:
        if len({destination.name for destination in destinations}) < len(destinations):
            raise ValueError("each destination needs a name of its own")
        return destinations


class Settings(_Section):
    log: Log = Log()
    paths: Paths = Paths()
    mediamtx: MediaMtx = MediaMtx()
    orchestrator: Orchestrator = Orchestrator()
    egress: Egress = Egress()
    alerts: Alerts = Alerts()
    access: Access = Access()
    worker: Worker = Worker()
    out: Out = Out()
    dub: Dub = Dub()
    cut: Cut = Cut()
    mix: Mix = Mix()
    publisher: Publisher = Publisher()
    trace: Trace = Trace()
    recording: Recording = Recording()
    sts_client: StsClient = StsClient()
    sts: Sts = Sts()
    streams: dict[StreamId, Stream] = {}

    @model_validator(mode="after")
    def _open_on_loopback_only(self) -> Self:
        if self.access.publishers == "open" and not is_loopback(self.mediamtx.host):
            raise ValueError(
                f"access.publishers = 'open' lets everybody on this machine publish: not with mediamtx.host = "
                f"{self.mediamtx.host!r}, which is not a loopback address"
            )
        return self

    @model_validator(mode="after")
    def _phrase_fits_latency(self) -> Self:
        self.require_time_to_dub(self.worker.mode)
        return self

    @model_validator(mode="after")
    def _streams_fit(self) -> Self:
        for stream_id, stream in self.streams.items():
            try:
                self.require_fit(stream)
            except ValueError as e:
                raise ValueError(f"streams.{stream_id}: {e}") from e
        return self

    def require_time_to_dub(self, mode: Mode) -> None:
        """ValueError where `mode` is dub and the latency is too short for a phrase."""
        if mode == "dub" and self.worker.latency_s < self.cut.max_phrase_s + 1.5:
            raise ValueError(
                f"worker.latency_s = {self.worker.latency_s:g} leaves no time to dub: it must be at least "
                f"cut.max_phrase_s + 1.5 = {self.cut.max_phrase_s + 1.5:g}"
            )

    def require_fit(self, stream: StreamConfig) -> None:
        """ValueError where these settings do not go together with what is different for a stream."""
        mode = stream.mode or self.worker.mode
        self.require_time_to_dub(mode)
        if mode == "bypass" and stream.programme in ("dub", "break"):
            raise ValueError(
                f"programme = {stream.programme!r} needs mode = 'dub': in bypass mode the sound is not decoded"
            )

    def for_stream(self, stream: StreamConfig) -> Self:
        """These settings with what is different for one stream in their sections."""
        changed = {
            "worker": {"mode": stream.mode},
            "dub": {key: getattr(stream, key) for key in Dub.model_fields},
            "mix": {"floor_gain_db": stream.floor_gain_db, "original_gain_db": stream.original_gain_db},
            "publisher": {key: getattr(stream, f"publisher_{key}") for key in Publisher.model_fields},
        }
        sections = {
            name: getattr(self, name).model_copy(update={key: v for key, v in values.items() if v is not None})
            for name, values in changed.items()
        }
        return self.model_copy(update=sections)

    @property
    def recordings_dir(self) -> Path:
        """Absolute: MediaMTX may have been started elsewhere."""
        return (self.recording.directory or self.paths.state_dir / "recordings").absolute()

    @property
    def dubs(self) -> bool:
        """Whether there is a stream that is dubbed, as far as these settings say."""
        return "dub" in {self.worker.mode, *(stream.mode for stream in self.streams.values())}


def read_toml(path: Path) -> dict[str, Any]:
    """ConfigError when there is no such file, or no TOML in it."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as e:
        raise ConfigError(f"{path}: cannot be read: {e.strerror}") from e
    except (ValueError, RecursionError) as e:  # also of a number of thousands of digits, and of brackets in brackets
        raise ConfigError(f"{path}: not valid TOML: {e}") from e


def load(path: Path | None, environ: Mapping[str, str], overrides: Mapping[str, Any] | None = None) -> Settings:
    """Settings from `path` (TOML; None: defaults), DUBRELAY_* of `environ`, and `overrides` by dotted key.

    Raises ConfigError with one line per problem: where the value is from, key path, value, what is allowed.
    """
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    if path is not None:
        values = read_toml(path)
        origins |= dict.fromkeys(_leaves(values), str(path))
    for name, text in environ.items():
        if name.startswith(ENV_PREFIX) and name not in _NOT_SETTINGS:
            keys = name.removeprefix(ENV_PREFIX).lower().split("__")
            if len(keys) == 1 and keys != ["streams"]:
                raise ConfigError(
                    f"environment {name}: a setting is named {ENV_PREFIX}SECTION__KEY, with two underscores"
                )
            _put(values, keys, from_text(text), f"environment {name}")
            _note_origin(origins, ".".join(keys), f"environment {name}")
    for key, value in (overrides or {}).items():
        if value is not None:
            _put(values, key.split("."), value, f"flag for {key}")
            _note_origin(origins, key, "flag")
    return validated(Settings, values, str(path) if path else "settings", origins)


def to_environ(settings: Settings) -> dict[str, str]:
    """The environment from which `load(None, ...)` makes the same settings: how a parent hands its own to a child.

    With secrets in the clear: a process' environment can be read by its own user only, unlike its arguments.
    """
    environ: dict[str, str] = {}
    _collect(settings, ENV_PREFIX, environ)
    return environ


def _collect(section: BaseModel, prefix: str, environ: dict[str, str]) -> None:
    for key, value in section:
        name = prefix + key.upper()
        if isinstance(value, BaseModel):
            _collect(value, name + "__", environ)
        elif isinstance(value, SecretStr):
            environ[name] = value.get_secret_value()
        elif isinstance(value, (list, tuple, dict)):
            environ[name] = json.dumps(value, default=_plain)
        elif value is not None:
            environ[name] = str(value)


def _plain(value: object) -> object:
    """What json.dumps does not know, secrets in the clear."""
    if isinstance(value, BaseModel):
        return {key: part for key, part in value if part is not None}
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)


M = TypeVar("M", bound=BaseModel)


def validated(model: type[M], values: object, where: str, origins: Mapping[str, str] | None = None) -> M:
    """`values` as a `model`, or a ConfigError: for every key that is wrong, where it is from and what is allowed.

    It is from `where`, but for the dotted keys in `origins`. Of many keys that are wrong the first are named.
    """
    try:
        return model.model_validate(values)
    except ValidationError as e:
        problems = e.errors(include_url=False)
        told = [_problem(problem, model, where, origins or {}) for problem in problems[:_SHOWN_PROBLEMS]]
        if (more := len(problems) - len(told)) > 0:
            told.append(f"{where}: {more} more are wrong")
        raise ConfigError("\n".join(told)) from e


def _problem(error: Any, model: type[BaseModel], where: str, origins: Mapping[str, str]) -> str:
    value, message = error["input"], error["msg"].removeprefix("Value error, ")
    key, may_be = allowed(model, error["loc"])
    where = _origin(key, origins) or where
    if error["type"] == "extra_forbidden":
        return f"{where}: {key}: there is no such key"
    if error["type"] == "missing":
        return f"{where}: {key}: is missing"
    if error["type"] != "value_error" and may_be:
        message = f"must be {may_be}"
    if not key:  # it concerns several, and says which
        return f"{where}: {message}"
    if isinstance(value, dict):
        return f"{where}: {key}: {message}"
    hidden = may_be.startswith("a table") and isinstance(value, str | list)  # whatever secrets were to be in it
    shown = "***" if hidden else _shown(key, value)
    return f"{where}: {key} = {shown}: {message}"


def _leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """The dotted keys of all that is no table."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key


def _note_origin(origins: dict[str, str], key: str, origin: str) -> None:
    """It replaces what the key had, with all of its parts."""
    for part in [known for known in origins if known.startswith(key + ".")]:
        del origins[part]
    origins[key] = origin


def _origin(key: str, origins: Mapping[str, str]) -> str:
    """Of a key, of what it is a part of, or of its parts; "settings" where those are from several places."""
    parts = key.split(".")
    found = (origins.get(".".join(parts[:n])) for n in range(len(parts), 0, -1))
    if origin := next(filter(None, found), ""):
        return origin
    of_parts = {origin for known, origin in origins.items() if not key or known.startswith(key + ".")}
    return "settings" if len(of_parts) > 1 else next(iter(of_parts), "")


def _shown(key: str, value: object) -> str:
    """A wrong value as people may see it: no secret, and no more of it than is needed to know it again."""
    if _SECRET_KEY.search(key):
        return "***"
    text = re.sub(r"//[^/@]*@", "//***@", repr(value))
    text = re.sub(r"""((?:key|token|secret|pass)\W{1,6})[^"'\\,}\s]+""", r"\1***", text)
    return text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "..."


def from_text(text: str) -> Any:
    """The value of a variable or flag: JSON for lists and tables, else text that pydantic converts."""
    if text[:1] in "[{":
        try:
            return json.loads(text)
        except (ValueError, RecursionError):  # also of a number of thousands of digits, and of brackets in brackets
            return text
    return text


def _put(values: dict[str, Any], keys: list[str], value: Any, where: str) -> None:
    for key in keys[:-1]:
        values = values.setdefault(key, {})
        if not isinstance(values, dict):
            raise ConfigError(f"{where}: {key} is not a section")
    values[keys[-1]] = value
