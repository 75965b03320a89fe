"""A real worker process for tests: settings on its stdin, its status lines and log read back."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from dubrelay.config import Cut, Dub, Mix, Paths, StsClient, Trace, Worker
from dubrelay.wire.status import ControlReport, Line, PhraseReport, WorkerStatus, parse_line
from dubrelay.wire.worker import WorkerSettings
from media import ROOT
from waiting import wait_for


def state_in(directory: Path) -> Paths:
    """A state folder of the test's own, with the models that set-up assembled."""
    (directory / "models").symlink_to(ROOT / "var/models")
    return Paths(state_dir=directory)


class RunningWorker:
    """with RunningWorker(in_url, out_url, mode="bypass", directory=tmp_path) as worker: ..."""

    def __init__(
        self,
        input_url: str,
        output_url: str,
        *,
        directory: Path,
        mode: str = "dub",
        latency_s: float = 8.0,
        sts: StsClient | None = None,
        dub: Dub | None = None,
        cut: Cut | None = None,
        mix: Mix | None = None,
        trace: Trace | None = None,
        paths: Paths | None = None,
        input_grace_s: float = 30.0,
        slate: Path | None = None,
        languages_url: str = "",
    ) -> None:
        self.run_id = uuid.uuid4().hex
        self._settings = WorkerSettings(
            stream_id="x",
            run_id=self.run_id,
            input_url=input_url,
            output_url=output_url,
            languages_url=languages_url,
            worker=Worker.model_validate(
                {"mode": mode, "latency_s": latency_s, "input_grace_s": input_grace_s, "slate": slate}
            ),
            dub=dub or Dub(),
            cut=cut or Cut(),
            mix=mix or Mix(),
            trace=trace or Trace(phrases=0),
            paths=paths or Paths(),
            sts_client=sts or StsClient(),
        )
        self._stdout, self._stderr = directory / "worker.jsonl", directory / "worker.log"
        self.exit_code: int | None = None

    def __enter__(self) -> Self:
        with self._stdout.open("wb") as out, self._stderr.open("wb") as err:
            command = [sys.executable, "-m", "dubrelay.worker"]
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=out, stderr=err)
        assert self.process.stdin is not None
        self.process.stdin.write(self._settings.to_json().encode() + b"\n")
        self.process.stdin.flush()
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        """The end of stdin is how a supervisor that is gone stops its workers."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.exit_code = self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.exit_code = self.process.wait(5)

    def wait_exit(self, timeout_s: float) -> int:
        return self.process.wait(timeout_s)

    def statuses(self) -> list[WorkerStatus]:
        return [line for line in self._lines() if isinstance(line, WorkerStatus)]

    def phrases(self) -> list[PhraseReport]:
        return [line for line in self._lines() if isinstance(line, PhraseReport)]

    def tell(self, **control: Any) -> ControlReport:
        """Sends a control and returns the answer."""
        told = uuid.uuid4().hex
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"id": told, **control}).encode() + b"\n")
        self.process.stdin.flush()

        def answer() -> ControlReport | None:
            return next((a for a in self._lines() if isinstance(a, ControlReport) and a.id in (told, "")), None)

        found = wait_for(answer, 5, f"an answer to {control}")
        assert found is not None
        return found

    def running_status(self) -> WorkerStatus | None:
        """The latest status if it says running and has measured the output."""
        statuses = self.statuses()
        latest = statuses[-1] if statuses else None
        return latest if latest and latest.state == "running" and latest.av_sync_ms is not None else None

    def metric(self, sample: str) -> float:
        """The latest value of a series, named as in Prometheus' text: `name{label="value"}`; 0 when not there yet."""
        statuses = self.statuses()
        for line in statuses[-1].metrics.splitlines() if statuses else []:
            name, _, value = line.rpartition(" ")
            if name == sample:
                return float(value)
        return 0.0

    def log(self) -> list[dict[str, Any]]:
        lines = self._stderr.read_text(errors="replace").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def logged(self, event: str, timeout_s: float = 10) -> dict[str, Any]:
        """The first log line of that event."""

        def first() -> dict[str, Any] | None:
            return next((line for line in self.log() if line["event"] == event), None)

        found = wait_for(first, timeout_s, f"{event} in the worker's log {self._stderr}")
        assert found is not None
        return found

    def _lines(self) -> list[Line]:
        text = self._stdout.read_bytes()
        return [parse_line(line) for line in text.splitlines() if line.endswith(b"}")]
