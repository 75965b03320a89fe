"""`dubrelay doctor`: each thing needed, found or not, and what to do about it."""

from __future__ import annotations

import json
import os
import shutil
import ssl
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx2
from rich.console import Console
from rich.table import Table

from dubrelay import models, ports, stack
from dubrelay.children import answers
from dubrelay.config import Settings, StsClient
from dubrelay.errors import DubrelayError
from dubrelay.trust import that_certificate, verification
from dubrelay.wire.firstrun import DoctorRow, DoctorTable

SETUP = "run scripts/setup"
MEDIAMTX_VERSION = "v1.20.1"
PYTHON = (3, 11)
CORES = 2
FREE_BYTES = 2_000_000_000
_PROBE_S = 20

_GSTREAMER_PROBE = """
import json
from dubrelay.worker.pipeline import ELEMENTS, Gst
print(json.dumps({"version": Gst.version_string(), "missing": [e for e in ELEMENTS if not Gst.ElementFactory.find(e)]}))
"""


@dataclass(frozen=True)
class Row:
    """One thing that is needed. `remedy` says what to do when it is not `ok`."""

    name: str
    ok: bool
    found: str
    remedy: str = ""


def check(settings: Settings) -> list[Row]:
    """Everything that `dubrelay up` and `dubrelay demo` need on this machine, in a few seconds."""
    return [*installed(settings), *_ports(settings), *_room(settings)]


def installed(settings: Settings) -> list[Row]:
    """What scripts/setup installs."""
    return [_python(), *_gstreamer(), *_programs(), *_models(settings), _mediamtx(settings)]


def show(rows: Iterable[Row], console: Console | None = None) -> None:
    """A table, and one line that sums it up."""
    rows = list(rows)
    table = Table("what", "", "found", "what to do")
    for row in rows:
        state = "[green]ok[/]" if row.ok else "[red]NO[/]"
        table.add_row(row.name, state, row.found, "" if row.ok else row.remedy)
    console = console or Console()
    console.print(table)
    lacking = [row.name for row in rows if not row.ok]
    console.print(f"Not as it should be: {', '.join(lacking)}" if lacking else "Everything needed is there.")


def as_json(rows: Iterable[Row]) -> str:
    table = DoctorTable(rows=[DoctorRow(name=r.name, ok=r.ok, found=r.found, remedy=r.remedy) for r in rows])
    return table.model_dump_json(by_alias=True)


def _python() -> Row:
    version = sys.version_info[:3]
    shown = ".".join(map(str, version))
    return Row("Python", version[:2] == PYTHON, shown, f"Python 3.11 is needed, as in Debian 12; {SETUP}")


def _gstreamer() -> list[Row]:
    """In a process of its own: a broken plugin can take the process that loads it down."""
    code, out, err = _run([sys.executable, "-c", _GSTREAMER_PROBE])
    if code:
        return [Row("GStreamer for Python", False, err or f"exit code {code}", SETUP)]
    found = json.loads(out.splitlines()[-1])
    lacks = found["missing"]
    return [
        Row("GStreamer for Python", True, found["version"]),
        Row("GStreamer elements", not lacks, f"without {', '.join(lacks)}" if lacks else "all", SETUP),
    ]


def _programs() -> list[Row]:
    modes = _run(["apertium", "-l"])[1].split()
    lacks = [mode for mode in ("eng-spa", "spa-eng") if mode not in modes]
    return [
        _program("ffmpeg", ["ffmpeg", "-version"]),
        _program("espeak-ng", ["espeak-ng", "--version"]),
        Row("apertium", not lacks, f"without {' and '.join(lacks)}" if lacks else "eng-spa and spa-eng", SETUP),
    ]


def _program(name: str, command: Sequence[str]) -> Row:
    code, out, err = _run(command)
    return Row(name, code == 0, (out or err or "?").splitlines()[0][:60], SETUP)


def _models(settings: Settings) -> list[Row]:
    return [
        Row(f"model {row.name}", row.state == "found", row.where if row.state == "found" else row.state, row.advice)
        for row in models.check(settings.paths)
    ]


def _mediamtx(settings: Settings) -> Row:
    try:
        binary = stack.mediamtx_binary(settings)
    except DubrelayError as e:
        return Row("MediaMTX", False, "missing", e.message)
    version = _run([str(binary), "--version"])[1].strip()
    remedy = f"{MEDIAMTX_VERSION} is what this is tested with: {SETUP}, or remove {binary}"
    return Row("MediaMTX", version == MEDIAMTX_VERSION, f"{version or '?'} at {binary}", remedy)


def _ports(settings: Settings) -> list[Row]:
    settings = stack.with_own_sts(settings)
    own_sts = stack.runs_sts(settings)
    rows = [_port(listen, settings) for listen in ports.needed(settings, own_sts)]
    if not own_sts and settings.dubs:
        rows += _services(settings.sts_client)
    return rows


def _port(listen: ports.Listen, settings: Settings) -> Row:
    """Our own part answering there is as good as nobody."""
    name = f"{listen.key} {listen.port}/{listen.transport}"
    problem = ports.taken(listen)
    if not problem:
        return Row(name, True, "free")
    ours = _ours(listen, settings)
    return Row(name, bool(ours), ours or "in use", problem)


def _ours(listen: ports.Listen, settings: Settings) -> str:
    whose = {
        "mediamtx": ("MediaMTX", stack.metrics_url(settings)),
        "orchestrator": ("the orchestrator", settings.orchestrator.url + "/healthz"),
        "sts": ("the STS service", settings.sts.url + "/health"),
    }
    part = listen.key.partition(".")[0]
    name, url = whose[part]
    certificate = settings.orchestrator.tls_cert if part == "orchestrator" else settings.sts.tls_cert
    verify = that_certificate(certificate, f"{part}.tls_cert") if url.startswith("https") else True
    return f"{name} is running" if answers(url, verify) else ""


def _services(client: StsClient) -> list[Row]:
    try:
        verify = verification(client.ca_file)
    except DubrelayError as e:
        return [Row("sts_client.ca_file", False, "of no use", e.message)]
    return [_service(url, verify) for url in client.urls]


def _service(url: str, verify: ssl.SSLContext | bool) -> Row:
    found = stack.service_answers(url, verify)
    name = f"sts_client.urls {httpx2.URL(url).netloc.decode()}"
    remedy = f"start {url}" + ("; its certificate must be one that is trusted here" if url.startswith("https") else "")
    return Row(name, found, "answers" if found else "no answer", remedy)


def _room(settings: Settings) -> list[Row]:
    cores = len(os.sched_getaffinity(0))
    folder = _existing(settings.paths.state_dir.absolute())
    free = shutil.disk_usage(folder).free
    return [
        Row(
            "processor cores",
            cores >= CORES,
            str(cores),
            f"the neural voice needs {CORES}; use --set worker.mode=bypass",
        ),
        Row("disk", free >= FREE_BYTES, f"{free / 1e9:.1f} GB free at {folder}", "make room, or set paths.state_dir"),
    ]


def _existing(folder: Path) -> Path:
    return folder if folder.exists() else _existing(folder.parent)


def _run(command: Sequence[str]) -> tuple[int, str, str]:
    """(exit code, stdout, last line of stderr); a program that is not there or hangs is a failure, not an error."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PROBE_S, check=False)
    except OSError as e:
        return 127, "", f"{command[0]}: {e.strerror}"
    except subprocess.TimeoutExpired:
        return 124, "", f"{command[0]} does not answer"
    return done.returncode, done.stdout, (done.stderr.strip().splitlines() or [""])[-1]
