"""A worker as a process: signals, logs and exit codes round a session."""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
from collections.abc import Callable
from functools import partial
from typing import NoReturn

from dubrelay import logs
from dubrelay.errors import EXIT_BUG, EXIT_OK, DubrelayError
from dubrelay.memory import share_memory
from dubrelay.wire.worker import WorkerSettings
from dubrelay.worker.claim import claimed
from dubrelay.worker.metrics import WorkerMetrics
from dubrelay.worker.report import Reporter

_WAITING_CONTROLS = 100


def run(
    settings: WorkerSettings, on_end_of_stdin: Callable[[threading.Event], None], metrics_port: int | None = None
) -> int:
    """Runs until a signal comes; the exit code of contracts, section 7.

    Lines on stdin are controls (wire/control.py); when it ends, `on_end_of_stdin` is given the event that stops the
    worker. `metrics_port` serves this worker's metrics on loopback, for a worker that no orchestrator reads.
    """
    stop = threading.Event()
    controls: queue.Queue[str] = queue.Queue(_WAITING_CONTROLS)
    reader = partial(_read_stdin, controls, lambda: on_end_of_stdin(stop))
    threading.Thread(target=reader, name="stdin", daemon=True).start()
    for number in (signal.SIGTERM, signal.SIGINT):
        # On a thread of its own: the main thread may hold the event's lock just now.
        signal.signal(number, lambda *_: threading.Thread(target=stop.set, daemon=True).start())
    share_memory()
    logs.hide(settings.internal_secret.get_secret_value(), settings.sts_client.key.get_secret_value())
    logs.setup("worker", settings.log.level, settings.log.format, streamId=settings.stream_id, runId=settings.run_id)
    log = logs.get()
    metrics, reporter = WorkerMetrics(), Reporter()
    try:
        from dubrelay.worker.session import Session  # noqa: PLC0415  (a missing plugin is an error to report, too)

        if metrics_port is not None:
            _serve(metrics, metrics_port)
        with claimed(settings, stop):
            Session(settings, metrics, reporter).run(stop, controls)
    except DubrelayError as e:
        log.error("worker_failed", code=e.code, message=e.message, exit_code=e.exit_code)
        return e.exit_code
    except Exception:
        log.exception("worker_bug", exit_code=EXIT_BUG)
        return EXIT_BUG
    finally:
        reporter.close()
    log.info("worker_stopped")
    return EXIT_OK


def leave(code: int) -> NoReturn:
    """Ends the process at once: threads of GStreamer and of the models must not hold up the end, or talk over it."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _read_stdin(controls: queue.Queue[str], at_end: Callable[[], None]) -> None:
    for line in filter(str.strip, sys.stdin):
        try:
            controls.put_nowait(line)
        except queue.Full:  # the session hangs; waiting for it would keep the end of stdin from being seen
            logs.get().warning("control_dropped", reason="the session does not take them")
    at_end()


def _serve(metrics: WorkerMetrics, port: int) -> None:
    from prometheus_client import start_http_server  # noqa: PLC0415

    from dubrelay.errors import StartupError  # noqa: PLC0415

    try:
        start_http_server(port, addr="127.0.0.1", registry=metrics.registry)
    except OSError as e:
        raise StartupError(f"--metrics-port {port}: {e.strerror}") from e
