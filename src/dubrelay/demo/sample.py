"""The sample programme as a process of its own, for the console's button: made where it is not there yet, then
published until stdin ends. `wire/sample.py` says what goes in and out.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

from dubrelay.demo.air import publishing
from dubrelay.demo.programme import make
from dubrelay.errors import EXIT_OK, DubrelayError, MediaError
from dubrelay.wire.sample import SampleOrder, SampleReport

_LOOK_S = 0.3
_END_S = 5.0


def main() -> int:
    order = SampleOrder.model_validate_json(sys.stdin.readline())
    threading.Thread(target=_end_with_stdin, name="stdin", daemon=True).start()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        _publish(order)
    except KeyboardInterrupt:
        return EXIT_OK
    except (DubrelayError, OSError) as e:
        _say(SampleReport(state="failed", message=str(e)))
        return MediaError.exit_code
    return EXIT_OK


def _publish(order: SampleOrder) -> None:
    told = -1

    def advance(done_s: float, total_s: float) -> None:
        nonlocal told
        percent = min(100, int(100 * done_s / total_s))
        if percent != told:
            told = percent
            _say(SampleReport(state="making", percent=percent))

    programme = make(Path(order.file), order.seconds, advance)
    with publishing(programme.path, order.url, None, True, order.query) as publisher:
        _say(SampleReport(state="publishing"))
        while not publisher.ended():
            threading.Event().wait(_LOOK_S)


def _say(report: SampleReport) -> None:
    sys.stdout.write(report.model_dump_json() + "\n")
    sys.stdout.flush()


def _end_with_stdin() -> None:
    """Whoever started this is gone, or has had enough: with all that was started here, were it to take long."""
    while sys.stdin.readline():
        pass
    os.kill(os.getpid(), signal.SIGINT)
    threading.Event().wait(_END_S)
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
