"""Parts for tests around the STS service: requests, tiny engines, a clock, the service on a port of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
import numpy as np
import numpy.typing as npt
import uvicorn

from dubrelay.config import Settings, Sts
from dubrelay.sts.app import build_app
from dubrelay.sts.asr.base import Transcript
from dubrelay.sts.care import Reload
from dubrelay.sts.mt.base import NO_WISH, Wish
from dubrelay.sts.route import Engines
from dubrelay.sts.running import Load
from dubrelay.sts.tts.base import Prepared, Speech
from dubrelay.wire.fragment import Audio, Languages, ProcessError, ProcessRequest
from waiting import wait_for

RATE_HZ = 16_000
MOCK: dict[str, Any] = {"asr": ["mock"], "mt": ["mock"], "tts": ["mock"], "tts_fast": []}


def mock_settings(**sts: Any) -> Settings:
    """Settings of a service with mock engines; `sts` are further keys of its section."""
    return Settings.model_validate({"sts": {**MOCK, **sts}})


def buzz(duration_s: float, rate_hz: int = RATE_HZ) -> npt.NDArray[np.float32]:
    """(n,) mono that is loud enough for the mock recogniser."""
    at_s = np.arange(round(duration_s * rate_hz)) / rate_hz
    return (0.3 * np.sin(2 * np.pi * 150 * at_s)).astype(np.float32)


def request_for(
    samples: npt.NDArray[np.float32], rate_hz: int = RATE_HZ, source: str = "en", target: str = "es", **fields: Any
) -> ProcessRequest:
    fields.setdefault("voice", "default")
    languages = Languages(source_language=source, target_language=target, voice_profile=fields.pop("voice"))
    given = {"fragment_id": "f-1", "stream_id": "abc", "sequence_number": 7, **fields}
    return ProcessRequest(audio=Audio.from_samples(samples, rate_hz), config=languages, **given)


class FakeClock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


Cost = Callable[[], object]


def free() -> None:
    """The cost of what costs nothing."""


class TinyAsr:
    name = "tiny-asr"

    def __init__(
        self, text: str = "hello there", cost: Cost = free, refused: str = "", languages: tuple[str, ...] = ("en",)
    ) -> None:
        self.languages = frozenset(languages)
        self._transcript = Transcript(text, refused)
        self._cost = cost
        self.heard_rates: list[int] = []

    def transcribe(self, samples: npt.NDArray[np.float32], language: str) -> Transcript:
        self.heard_rates.append(len(samples))
        self._cost()
        return self._transcript


class TinyTranslator:
    name = "tiny-mt"

    def __init__(
        self, text: str = "hola", cost: Cost = free, pairs: tuple[tuple[str, str], ...] = (("en", "es"),)
    ) -> None:
        self.pairs = frozenset(pairs)
        self._text = text
        self._cost = cost
        self.closed = False

    def translate(self, text: str, source: str, target: str, wish: Wish = NO_WISH) -> str:
        self._cost()
        return self._text

    def close(self) -> None:
        self.closed = True


class TinyTts:
    """Speaks a buzz; `cost` gets the seconds of sound that are to be computed."""

    min_tempo = 0.8
    max_tempo = 1.3

    def __init__(
        self,
        name: str = "tiny-tts",
        natural_s: float = 1.0,
        cost: Callable[[float], object] = lambda _: None,
        languages: tuple[str, ...] = ("es",),
        voices: tuple[str, ...] = ("ana", "luis"),
        sound: Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]] = lambda samples: samples,
    ) -> None:
        self.name = name
        self.languages = frozenset(languages)
        self.natural_s = natural_s
        self._cost = cost
        self._voices = voices
        self._sound = sound

    def voices(self, language: str) -> tuple[str, ...]:
        return self._voices

    def prepare(self, text: str, language: str, voice: str) -> Prepared:
        return Prepared(language, voice, self.natural_s, self.natural_s, text)

    def speak(self, prepared: Prepared, tempo: float) -> Speech:
        self._cost(prepared.work_s / tempo)
        return Speech(self._sound(buzz(self.natural_s / tempo, 24_000)), 24_000, tempo)


def tiny_engines(
    asr: TinyAsr | None = None,
    mt: TinyTranslator | None = None,
    tts: TinyTts | None = None,
    fast: TinyTts | None = None,
) -> Engines:
    return Engines((asr or TinyAsr(),), (mt or TinyTranslator(),), (tts or TinyTts(),), (fast,) if fast else ())


def tiny_sts(**values: Any) -> Sts:
    return mock_settings(**values).sts


@dataclass
class Service:
    url: str
    client: httpx2.Client

    def post(self, request: ProcessRequest | dict[str, Any], **options: Any) -> httpx2.Response:
        body = request.model_dump() if isinstance(request, ProcessRequest) else request
        return self.client.post("/api/v1/sts/process", json=body, **options)

    def metric(self, name: str, **labels: str) -> float:
        """The value of a series; 0 where it does not exist."""
        shown = ",".join(f'{key}="{value}"' for key, value in labels.items())
        series = f"{name}{{{shown}}} " if labels else f"{name} "
        for line in self.client.get("/metrics").text.splitlines():
            if line.startswith(series):
                return float(line.removeprefix(series))
        return 0.0


@contextmanager
def service(
    settings: Settings, load: Load | None = None, ready: bool = True, reload: Reload | None = None
) -> Iterator[Service]:
    """The STS service on a free port in a thread of this process; `ready`: once it is warm."""
    with serving(build_app(settings, load=load, reload=reload) if load else build_app(settings), ready) as running:
        yield running


def error_of(answer: httpx2.Response) -> ProcessError:
    return ProcessError.model_validate_json(answer.content)


@contextmanager
def serving(app: Any, ready: bool = True) -> Iterator[Service]:
    """An ASGI application likewise."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="on", timeout_graceful_shutdown=2))
    thread = threading.Thread(target=server.run, name="service")
    thread.start()
    try:
        wait_for(lambda: server.started, 20, "the service to listen")
        host, port = server.servers[0].sockets[0].getsockname()[:2]
        url = f"http://{host}:{port}"
        with httpx2.Client(base_url=url, timeout=20) as client:
            if ready:
                wait_for(lambda: client.get("/health").status_code == 200, 20, "the service to be warm")
            yield Service(url, client)
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive(), "the service did not stop"
