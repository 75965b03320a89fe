"""Everything on one machine: MediaMTX, the STS service and the orchestrator as child processes of this one.

    ports free? -> start all three -> wait until each answers -> (yours) -> end all

Without the service where the client is told to use others, and in bypass mode.

Settings go to them by environment, finished: the children read no file and no other variable.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import ssl
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import NoReturn

import httpx2
from pydantic import SecretStr

import dubrelay
from dubrelay.children import Children, Part, Say, answers, listens
from dubrelay.config import AUTO, ENV_PREFIX, Dub, Settings, StsClient, is_loopback, to_environ
from dubrelay.errors import ConfigError, StartupError
from dubrelay.orchestrator.addresses import WILDCARDS
from dubrelay.orchestrator.guard import require_token
from dubrelay.orchestrator.keys import KEY_BYTES, Keys, file_of, with_internal_secret
from dubrelay.orchestrator.mediamtx import LOOPBACK, server_environment
from dubrelay.orchestrator.webhooks import targets
from dubrelay.ports import needed, refuse_taken
from dubrelay.sts.engines import check_names
from dubrelay.trust import server_context, that_certificate, verification

ROOT = Path(dubrelay.__file__).parents[2]
MEDIAMTX_CONFIG = ROOT / "deploy" / "mediamtx.yml"
_STOP_MARGIN_S = 3.0
_SHOWN_PAIRS = 20


@dataclass(frozen=True)
class Stack:
    """What is running."""

    settings: Settings
    """Those it runs with: the STS client's address and key are filled in, and the secrets between the parts."""
    log_dir: Path
    _children: Children

    def pids(self) -> dict[str, int]:
        """Of the children that live, by name: mediamtx, sts, orchestrator."""
        return self._children.pids()


def mediamtx_binary(settings: Settings) -> Path:
    """The configured one, else what scripts/setup put under var/, else the one on PATH.

    ConfigError when the configured one is no program, StartupError when none is configured and none is installed.
    """
    if settings.mediamtx.binary:
        chosen = shutil.which(settings.mediamtx.binary)
        if chosen is None:
            raise ConfigError(f"mediamtx.binary = {settings.mediamtx.binary!r}: there is no such program")
        return Path(chosen)
    for folder in (settings.paths.state_dir, ROOT / "var"):
        if os.access(folder / "bin" / "mediamtx", os.X_OK):
            return (folder / "bin" / "mediamtx").absolute()
    on_path = shutil.which("mediamtx")
    if on_path is None:
        raise StartupError("MediaMTX is not installed: run scripts/setup, or set mediamtx.binary")
    return Path(on_path)


@contextmanager
def running(settings: Settings, say: Say, environ: Mapping[str, str] = os.environ) -> Iterator[Stack]:
    """Starts everything, waits until it answers, ends it afterwards. `say` gets one line per event.

    ConfigError names an engine or program that does not exist, or languages that cannot be dubbed; StartupError the
    setting whose port is taken, or the part that does not come up and what it said last.
    SIGTERM and SIGHUP, which a closed terminal sends, end the block the way Ctrl-C does: by KeyboardInterrupt.
    """
    require_startable(settings)
    settings = with_secrets(with_own_sts(settings))
    log_dir = settings.paths.state_dir.absolute() / "log"
    children = Children(_parts(settings, log_dir, environ), say)
    with _handled(_interrupt, signal.SIGTERM, signal.SIGHUP):
        try:
            children.start()
            if runs_sts(settings):
                _require_pairs(settings)
            yield Stack(settings, log_dir, children)
        finally:
            # It takes seconds; a second Ctrl-C meanwhile must not leave children behind.
            with _handled(signal.SIG_IGN, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                children.stop()


def require_startable(settings: Settings) -> None:
    """ConfigError for an engine or program that does not exist or a file that is no use, StartupError for a taken
    port or what is not installed.
    """
    settings = with_secrets(with_own_sts(settings))
    verification(settings.sts_client.ca_file)
    require_token(settings.orchestrator, Keys(file_of(settings.paths)))
    for section, tls in (("orchestrator", settings.orchestrator), ("mediamtx", settings.mediamtx)):
        server_context(section, tls.tls_cert, tls.tls_key)
    targets(settings.alerts)
    mediamtx_binary(settings)
    if settings.worker.slate is not None:
        from dubrelay.worker.slate import read_slate  # noqa: PLC0415  (GStreamer, which is not needed otherwise)

        read_slate(settings.worker.slate)
    if runs_sts(settings):
        check_names(settings.sts)
        if settings.sts.keys_file is not None and not settings.sts_client.key.get_secret_value():
            raise ConfigError("sts_client.key is not set: sts.keys_file makes the service ask for one")
    refuse_taken(needed(settings, own_sts=runs_sts(settings)))


def with_own_sts(settings: Settings) -> Settings:
    """The client's address, key and cost follow the stack's own service, unless others are configured."""
    client = settings.sts_client
    if client.urls not in (StsClient().urls, [settings.sts.url]):
        return settings
    key = client.key if client.key.get_secret_value() else settings.sts.key
    own = {"urls": [settings.sts.url], "key": key, "cost_per_hour": client.cost_per_hour or settings.sts.cost_per_hour}
    return settings.model_copy(update={"sts_client": client.model_copy(update=own)})


def with_secrets(settings: Settings) -> Settings:
    """What the parts say to each other is new each time where none is configured."""
    settings = with_internal_secret(settings)
    if settings.orchestrator.hook_token.get_secret_value():
        return settings
    made = settings.orchestrator.model_copy(update={"hook_token": SecretStr(secrets.token_urlsafe(KEY_BYTES))})
    return settings.model_copy(update={"orchestrator": made})


def runs_sts(settings: Settings) -> bool:
    """Whether the STS service is a part of the stack: not where nothing is dubbed or the client uses others."""
    return settings.dubs and settings.sts_client.urls == [settings.sts.url]


def silent_services(settings: Settings) -> list[str]:
    """URLs of the services that phrases would go to and that do not answer now."""
    if not settings.dubs:
        return []
    client = settings.sts_client
    verify = verification(client.ca_file)
    with ThreadPoolExecutor() as pool:
        found = pool.map(lambda url: service_answers(url, verify), client.urls)
    return [url for url, there in zip(client.urls, found, strict=True) if not there]


def service_answers(url: str, verify: ssl.SSLContext | bool) -> bool:
    return answers(url.rstrip("/") + "/health", verify)


def _require_pairs(settings: Settings) -> None:
    """ConfigError when the service cannot dub what streams will ask for. Its answer has the pairs it can."""
    health = httpx2.get(f"{settings.sts.url}/health", trust_env=False, timeout=5).json()
    pairs = [(pair["source"], pair["target"]) for pair in health["pairs"]]
    if settings.worker.mode == "dub":
        _require_pair("dub", settings.dub, pairs)
    for stream_id, stream in settings.streams.items():
        here = settings.for_stream(stream)
        if here.worker.mode == "dub":
            _require_pair(f"streams.{stream_id}", here.dub, pairs)


def _require_pair(key: str, dub: Dub, pairs: Sequence[tuple[str, str]]) -> None:
    """`pairs` of source and target; * is any."""
    sources = ("*", dub.source_language) if dub.source_language != AUTO else [source for source, _ in pairs]
    if not any(source in sources and target in ("*", dub.target_language) for source, target in pairs):
        possible = ", ".join(f"{source} to {target}" for source, target in pairs[:_SHOWN_PAIRS])
        more = f" and {len(pairs) - _SHOWN_PAIRS} more" if len(pairs) > _SHOWN_PAIRS else ""
        raise ConfigError(
            f"{key}.source_language = {dub.source_language!r}, {key}.target_language = {dub.target_language!r}: "
            f"the engines in sts cannot dub that; they can {possible}{more}"
        )


# ------------------------------------------------------------------------------------------------------------ the parts


def _parts(settings: Settings, log_dir: Path, environ: Mapping[str, str]) -> list[Part]:
    """The service first: its models take longest to load."""
    parts = [_mediamtx(settings, log_dir, environ), _ours("orchestrator", settings, log_dir, environ, "/healthz", 30)]
    if runs_sts(settings):
        parts.insert(0, _ours("sts", settings, log_dir, environ, "/health", 180))
    return parts


def _ours(
    command: str, settings: Settings, log_dir: Path, environ: Mapping[str, str], path: str, timeout_s: float
) -> Part:
    inherited = {name: value for name, value in environ.items() if not name.startswith(ENV_PREFIX)}
    base = settings.sts.url if command == "sts" else settings.orchestrator.url
    # An empty file: a dubrelay.toml in the current folder is part of the settings already.
    argv = (sys.executable, "-m", "dubrelay", command, "--config", os.devnull)
    # The service runs engines of anybody's making: the keys of the other parts are not for it.
    own = Settings(log=settings.log, paths=settings.paths, sts=settings.sts) if command == "sts" else settings
    environ = inherited | to_environ(own)
    stop_s = settings.orchestrator.stop_timeout_s + _STOP_MARGIN_S  # it stops its workers first
    if command == "sts":
        stop_s += settings.sts.drain_s
    verify = (
        verification(settings.sts_client.ca_file)
        if command == "sts"
        else that_certificate(settings.orchestrator.tls_cert, "orchestrator.tls_cert")
    )
    ready = partial(answers, base + path, verify)
    return Part(command, argv, environ, ready, timeout_s, log_dir / f"{command}.log", stop_s)


def _mediamtx(settings: Settings, log_dir: Path, environ: Mapping[str, str]) -> Part:
    command, whole = _mediamtx_process(settings, environ, MEDIAMTX_CONFIG)
    # Its API is what it opens last; asked for its metrics before that, it panics (v1.20.1).
    ready = partial(listens, settings.mediamtx.host, settings.mediamtx.api_port)
    return Part("mediamtx", command, whole, ready, 20, log_dir / "mediamtx.log")


def _mediamtx_process(
    settings: Settings, environ: Mapping[str, str], file: Path
) -> tuple[tuple[str, str], dict[str, str]]:
    """Its command and its whole environment."""
    if not file.is_file():
        raise StartupError(f"{file} is missing: run dubrelay from its checkout")
    inherited = {name: value for name, value in environ.items() if not name.startswith((ENV_PREFIX, "MTX_"))}
    return (str(mediamtx_binary(settings)), str(file)), {**inherited, **mediamtx_environ(settings)}


def become_mediamtx(settings: Settings, environ: Mapping[str, str], file: Path | None = None) -> NoReturn:
    """Replaces this process by MediaMTX, where something else than `dubrelay up` keeps it running."""
    command, whole = _mediamtx_process(settings, environ, file or MEDIAMTX_CONFIG)
    os.execve(command[0], command, whole)  # noqa: S606 -- no shell is wanted


def mediamtx_environ(settings: Settings) -> dict[str, str]:
    """Its addresses, and what its hooks need. The API shows the keys of streams: with the metrics it stays here."""
    m, environ = settings.mediamtx, server_environment(settings)
    if m.host in WILDCARDS:
        environ["MTX_APIADDRESS"] = f"{LOOPBACK}:{m.api_port}"
    if not is_loopback(m.host):
        environ["MTX_METRICSADDRESS"] = f"{LOOPBACK}:{m.metrics_port}"
    return environ


def metrics_url(settings: Settings) -> str:
    """MediaMTX's own; it needs no password, and never leaves this machine."""
    m = settings.mediamtx
    return f"http://{m.host if is_loopback(m.host) else LOOPBACK}:{m.metrics_port}/metrics"


# -------------------------------------------------------------------------------------------------------------- signals


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@contextmanager
def _handled(handler: Callable[[int, FrameType | None], None] | signal.Handlers, *numbers: int) -> Iterator[None]:
    """Signals do this on the main thread within the block; a SIGHUP that was ignored before it stays so (nohup)."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    kept = {}
    for number in numbers:
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            kept[number] = signal.signal(number, handler)
    try:
        yield
    finally:
        for number, before in kept.items():
            signal.signal(number, before)
