"""Where an output is forwarded to: a second MediaMTX with a key of its own."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from certificates import Certificate
from media import BINARY, MediaMtx, free_port

KEY = "right-KEY-0123"
_CONFIG = """\
api: yes
metrics: yes
rtspTransports: [tcp]
moq: no
playback: no
pprof: no
authInternalUsers:
  - user: any
    permissions: [{action: read}, {action: api}, {action: metrics}]
  - user: me
    pass: %s
    permissions: [{action: publish}]
paths: {all_others: }
"""


class RunningDestination(MediaMtx):
    """Takes what comes with the right key. `url` is as a person would paste it."""

    def __init__(self, directory: Path, certificate: Certificate | None = None) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        super().__init__(directory)
        self._config = directory / "destination.yml"
        self._certificate = certificate
        self.rtmps_port = free_port()

    def url(self, name: str = "x", key: str = KEY) -> str:
        return f"rtmp://127.0.0.1:{self.settings().rtmp_port}/app/{name}?user=me&pass={key}"

    def srt_url(self, name: str = "x", key: str = KEY) -> str:
        return f"srt://127.0.0.1:{self.settings().srt_port}?streamid=publish:app/{name}:me:{key}"

    def whip_url(self, name: str = "x", key: str = KEY) -> str:
        return f"whip://127.0.0.1:{self.settings().webrtc_port}/app/{name}/whip#me:{key}"

    def rtmps_url(self, name: str = "x", key: str = KEY) -> str:
        return f"rtmps://localhost:{self.rtmps_port}/app/{name}?user=me&pass={key}"

    def freeze(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def start(self) -> Self:
        text = _CONFIG % KEY
        if self._certificate is not None:
            tls = ("rtmpEncryption: optional", f"rtmpsAddress: 127.0.0.1:{self.rtmps_port}")
            files = (f"rtmpServerKey: {self._certificate.key}", f"rtmpServerCert: {self._certificate.file}")
            text += "\n".join((*tls, *files))
        self._config.write_text(text)
        return super().start()

    def command(self) -> Sequence[str | Path]:
        return (BINARY, self._config)
