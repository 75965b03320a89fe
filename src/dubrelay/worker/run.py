"""A worker as a process: signals, logs and exit codes round a session."""

from __future__ import annotations

import signal
import threading

from dubrelay import logs
from dubrelay.errors import EXIT_BUG, EXIT_OK, DubrelayError
from dubrelay.wire.worker import WorkerSettings
from dubrelay.worker.metrics import WorkerMetrics
from dubrelay.worker.report import Reporter


def run(settings: WorkerSettings, stop: threading.Event | None = None, metrics_port: int | None = None) -> int:
    """Runs until `stop` is set or a signal comes; the exit code of contracts, section 7.

    `metrics_port` serves this worker's metrics on loopback, for a worker that no orchestrator reads.
    """
    stop = stop or threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        # On a thread of its own: the main thread may hold the event's lock just now.
        signal.signal(number, lambda *_: threading.Thread(target=stop.set, daemon=True).start())
    logs.setup("worker", settings.log.level, settings.log.format, streamId=settings.stream_id, runId=settings.run_id)
    log = logs.get()
    metrics, reporter = WorkerMetrics(), Reporter()
    try:
        from dubrelay.worker.session import Session  # noqa: PLC0415  (a missing plugin is an error to report, too)

        if metrics_port is not None:
            _serve(metrics, metrics_port)
        Session(settings, metrics, reporter).run(stop)
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


def _serve(metrics: WorkerMetrics, port: int) -> None:
    from prometheus_client import start_http_server  # noqa: PLC0415

    from dubrelay.errors import StartupError  # noqa: PLC0415

    try:
        start_http_server(port, addr="127.0.0.1", registry=metrics.registry)
    except OSError as e:
        raise StartupError(f"--metrics-port {port}: {e.strerror}") from e
