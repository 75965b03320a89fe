"""One stream that goes on all the time, for faults.py to break what is round it: a real MediaMTX, orchestrator, worker
and service, with proxies between them that refuse, reset, stall and drip. The service's voice is a tone.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import psutil
import table  # noqa: F401 -- puts the tests' modules on the path

from dubrelay import logs
from dubrelay.config import Cut, Orchestrator, Settings, StsClient, Worker
from dubrelay.wire.streams import StreamDetails
from fault_proxy import FaultProxy, rtmp_kind
from lying_service import Liar
from media import INTERNAL_SECRET, OPEN, MediaMtx, free_mediamtx_settings, free_port, publish_command
from running_orchestrator import RunningOrchestrator
from running_sts import MOCK, RunningSts
from running_worker import state_in
from waiting import wait_for

LATENCY_S = 5.5
WORKER = (sys.executable, "-m", "dubrelay.worker")


@dataclass
class Desk:
    """All that runs, for the faults to break."""

    directory: Path
    media: MediaMtx
    network: FaultProxy
    service_network: FaultProxy
    sts: RunningSts
    liar: Liar
    orchestrator: RunningOrchestrator
    file: Path
    publisher: subprocess.Popen[bytes] | None = None
    leaving: list[subprocess.Popen[bytes]] = field(default_factory=list)
    ice: subprocess.Popen[bytes] | None = None
    """What holds the worker's first thread."""

    def publish(self) -> None:
        command = publish_command(self.media.rtmp("live/x/in"), file=self.file, loop=True)
        self.publisher = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def leave(self) -> None:
        if self.publisher is not None:
            self.publisher.terminate()
            self.publisher.wait(10)

    def replace_publisher(self) -> None:
        """A second one on the same path: MediaMTX ends the first."""
        first = self.publisher
        self.publish()
        self.leaving = [process for process in self.leaving if process.poll() is None]
        if first is not None:
            self.leaving.append(first)

    def stream(self) -> StreamDetails:
        found = self.orchestrator.stream("x")
        assert found is not None, "the orchestrator knows no stream x"
        return found

    def worker(self) -> psutil.Process:
        def pid() -> int | None:
            view = self.stream().worker
            return view.pid if view else None

        return psutil.Process(wait_for(pid, 20, "a worker"))

    def use(self) -> tuple[int, float, int]:
        worker = self.worker()
        return self.stream().restarts, worker.memory_info().rss / 2**20, worker.num_fds()

    def dubbed_since(self, wall: float) -> bool:
        return any(p.phrase.status == "dubbed" and p.phrase.started_at > wall for p in self.stream().phrases)

    def freeze(self) -> None:
        """Only the thread that moves the sound; all others of the worker go on."""
        command = [sys.executable, str(Path(__file__).with_name("freeze.py")), str(self.worker().pid)]
        self.ice = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.ice.stdout is not None
        assert self.ice.stdout.readline() == b"frozen\n", "the worker's thread could not be stopped"

    def thaw(self) -> None:
        if self.ice is not None:
            self.ice.communicate(timeout=10)

    def service(self, port: int) -> None:
        self.service_network.upstream = port
        self.service_network.reset()


@contextmanager
def desk(directory: Path, file: Path) -> Iterator[Desk]:
    real = free_mediamtx_settings()
    with ExitStack() as stack:
        network = stack.enter_context(FaultProxy(real.rtmp_port, rtmp_kind))
        sts = stack.enter_context(RunningSts(directory, **MOCK))
        service_network = stack.enter_context(FaultProxy(sts.settings.port))
        client = StsClient(urls=[f"http://127.0.0.1:{service_network.port}"], breaker_open_s=5)
        settings = Settings(
            mediamtx=real.model_copy(update={"rtmp_port": network.port}),
            orchestrator=Orchestrator(port=free_port(), internal_secret=INTERNAL_SECRET),
            access=OPEN,
            worker=Worker(latency_s=LATENCY_S),
            cut=Cut(),
            sts_client=client,
            paths=state_in(directory),
        )
        liar = stack.enter_context(Liar())
        media = stack.enter_context(MediaMtx(directory, settings.model_copy(update={"mediamtx": real})))
        orchestrator = stack.enter_context(RunningOrchestrator(settings, WORKER))
        made = Desk(directory, media, network, service_network, sts, liar, orchestrator, file)
        try:
            yield made
        finally:
            for process in [made.publisher, made.ice, *made.leaving]:
                if process is not None:
                    process.kill()
                    process.wait(5)


@contextmanager
def talking_to(log: Path) -> Iterator[IO[bytes]]:
    """Whatever this process and its children log goes into a file; what it gives writes to the terminal still."""
    with log.open("wb") as file, os.fdopen(os.dup(2), "wb", buffering=0) as terminal:
        os.dup2(file.fileno(), 2)
        logs.setup("bench", "info", "json")
        try:
            yield terminal
        finally:
            os.dup2(terminal.fileno(), 2)
