"""Real media for tests: MediaMTX on free ports, ffmpeg as publisher and as reader."""

from __future__ import annotations

import itertools
import os
import random
import signal
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx2
from pydantic import SecretStr

from dubrelay import config
from dubrelay.children import listens
from dubrelay.orchestrator.mediamtx import server_environment
from waiting import wait_for

ROOT = Path(__file__).parents[1]
BINARY = ROOT / "var/bin/mediamtx"
CONFIG = ROOT / "deploy/mediamtx.yml"


def _ports_of_this_process() -> Iterator[int]:
    """Below those that the system gives to outgoing connections, and apart from other pytest processes of this run."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 5
    own = range(10_000 + 4_000 * worker, 14_000 + 4_000 * worker)
    first = random.randrange(len(own))
    return itertools.cycle((*own[first:], *own[:first]))


_PORTS = _ports_of_this_process()


def free_ports(count: int) -> list[int]:
    """Port numbers that are free for TCP and for UDP on loopback, all different, none given out lately."""
    ports: list[int] = []
    while len(ports) < count:
        port = next(_PORTS)
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp, suppress(OSError):
            tcp.bind(("127.0.0.1", port))
            udp.bind(("127.0.0.1", port))
            ports.append(port)
    return ports


def free_port() -> int:
    return free_ports(1)[0]


def free_mediamtx_settings() -> config.MediaMtx:
    names = ("rtmp_port", "rtsp_port", "hls_port", "srt_port", "webrtc_port", "api_port", "metrics_port")
    return config.MediaMtx.model_validate(dict(zip(names, free_ports(len(names)), strict=True)))


INTERNAL_SECRET = SecretStr("0123456789abcdef-of-a-test")
"""For settings of an orchestrator and a MediaMTX that a test asks itself."""
OPEN = config.Access(publishers="open")


class MediaMtx:
    """MediaMTX with deploy/mediamtx.yml, on free ports unless `settings` names others.

    with MediaMtx(tmp_path) as media, publish(media.rtmp("live/a/in")):
        media.wait_available("live/a/in")

    Its hooks go to `settings.orchestrator`, whether somebody listens there or not. With `settings` it lets in whom the
    orchestrator there lets in; without, everybody. `environ` overrides what it is told.
    """

    def __init__(
        self, directory: Path, settings: config.Settings | None = None, environ: Mapping[str, str] | None = None
    ) -> None:
        self._environ = environ or {}
        self._settings = settings or config.Settings(
            mediamtx=free_mediamtx_settings(), orchestrator=config.Orchestrator(port=free_port())
        )
        self._alone = settings is None
        self.log_file = directory / "mediamtx.log"
        self.process: subprocess.Popen[bytes] | None = None

    def settings(self) -> config.MediaMtx:
        return self._settings.mediamtx

    def all_settings(self) -> config.Settings:
        return self._settings

    def rtmp(self, path: str) -> str:
        return f"rtmp://127.0.0.1:{self.settings().rtmp_port}/{path}"

    def rtsp(self, path: str) -> str:
        return f"rtsp://127.0.0.1:{self.settings().rtsp_port}/{path}"

    def output(self, stream_id: str) -> str:
        """Where a worker publishes, with what lets it in."""
        return self.settings().output_url(stream_id, self._settings.orchestrator.internal_secret.get_secret_value())

    def srt(self, path: str, *, action: str = "read") -> str:
        return f"srt://127.0.0.1:{self.settings().srt_port}?streamid={action}:{path}"

    def start(self) -> Self:
        """Returns once it answers; its Control API does so only while the orchestrator does."""
        environment = os.environ | server_environment(self._settings)
        if self._alone:
            environment["MTX_AUTHMETHOD"] = "internal"
        environment |= self._environ
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment
            )
        try:
            wait_for(self._answers, 10, f"MediaMTX to answer; its log: {self.log_file}")
        except AssertionError:
            self.kill()
            raise
        return self

    def command(self) -> Sequence[str | Path]:
        return (BINARY, CONFIG)

    def stop(self, signal_number: int = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(signal_number)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(5)
            self.process = None

    def kill(self) -> None:
        """kill -9: no hook of it fires, its publishers get a broken pipe."""
        self.stop(signal.SIGKILL)

    def api(self, path: str) -> Any:
        """The JSON of one GET on the Control API: `api("/v3/paths/list")`."""
        response = httpx2.get(f"{self.settings().api_url}{path}", auth=self._auth, timeout=5, trust_env=False)
        return response.json()

    def kick(self, source_id: str) -> None:
        """Ends an RTMP publisher's connection."""
        url = f"{self.settings().api_url}/v3/rtmpconns/kick/{source_id}"
        assert httpx2.post(url, auth=self._auth, timeout=5, trust_env=False).is_success

    @property
    def _auth(self) -> tuple[str, str] | None:
        secret = self._settings.orchestrator.internal_secret.get_secret_value()
        return (config.INTERNAL_USER, secret) if secret else None

    def available(self, path: str) -> bool:
        # Not /v3/paths/get: MediaMTX logs an error for each path that is not there yet.
        return any(item["name"] == path and item["available"] for item in self.api("/v3/paths/list")["items"])

    def wait_available(self, path: str, timeout_s: float = 15) -> None:
        wait_for(lambda: self.available(path), timeout_s, f"{path} to be available; log: {self.log_file}")

    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"MediaMTX ended:\n{self.log()}"
        return listens(self.settings().host, self.settings().api_port)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self.stop()


def _sink(url: str) -> list[str]:
    formats = {"rtsp": ["rtsp", "-rtsp_transport", "tcp"], "srt": ["mpegts"]}
    return ["-f", *formats.get(url.partition(":")[0], ["flv"]), url]


def _generated(b_frames: int) -> list[str]:
    """A small moving picture with a 440 Hz tone, encoded as an encoder in the field would, key frame each second."""
    picture = ["-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25"]
    sound = ["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000"]
    video = ["-c:v", "libx264", "-preset", "ultrafast", "-bf", str(b_frames), "-g", "25", "-pix_fmt", "yuv420p"]
    return ["-re", *picture, "-re", *sound, *video, "-c:a", "aac", "-ac", "2", "-b:a", "96k"]


def publish_command(
    url: str, *, file: Path | None = None, seconds: float | None = None, b_frames: int = 0, loop: bool = False
) -> list[str]:
    """`file` goes out as it is (`-c copy`), in real time, once or for ever; without one, a picture and a tone."""
    again = ["-stream_loop", "-1"] if loop else []
    source = ["-re", *again, "-i", str(file), "-c", "copy"] if file else _generated(b_frames)
    length = ["-t", str(seconds)] if seconds is not None else []
    return ["ffmpeg", "-nostdin", "-v", "error", *source, *length, *_sink(url)]


@contextmanager
def publish(
    url: str, *, file: Path | None = None, seconds: float | None = None, b_frames: int = 0, loop: bool = False
) -> Iterator[subprocess.Popen[bytes]]:
    """A publisher that runs as long as the block, or `seconds`, or `file`. Its errors show in pytest's capture."""
    command = publish_command(url, file=file, seconds=seconds, b_frames=b_frames, loop=loop)
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)


def record(url: str, out_file: Path, seconds: float, *, every_track: bool = False) -> Path:
    """Reads `seconds` of a live stream into `out_file` without re-encoding; the container follows its suffix."""
    tracks = ["-map", "0"] if every_track else []
    transport = ["-rtsp_transport", "tcp"] if url.startswith("rtsp:") else []
    command = ["ffmpeg", "-nostdin", "-v", "error", "-y", *transport, "-i", url, "-t", str(seconds), "-c", "copy"]
    subprocess.run([*command, *tracks, str(out_file)], check=True, timeout=seconds + 30)
    return out_file


@contextmanager
def recording(url: str, out: Path) -> Iterator[None]:
    """Records as long as the block lasts."""
    process = subprocess.Popen(["ffmpeg", "-nostdin", "-v", "error", "-y", "-i", url, "-c", "copy", str(out)])
    try:
        yield
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(10)


def packet_count(file: Path, track: str) -> int:
    """How many packets a track (`v` or `a`) has."""
    command = ["ffprobe", "-v", "error", "-select_streams", track, "-count_packets"]
    shown = subprocess.run(
        [*command, "-show_entries", "stream=nb_read_packets", "-of", "csv=p=0", str(file)],
        check=True,
        capture_output=True,
        text=True,
    )
    return int(shown.stdout.split()[0].strip(","))
