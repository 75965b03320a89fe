"""A worker that only speaks: the wire lines of a real one, and the faults its arguments ask for.

Run as `fake_worker.py FAULT`. It reads its settings from stdin, as the real one does, and ends when stdin does.
A stream's id may carry a fault as well, as in `exit3`, so that streams of one orchestrator can differ. `says=FILE` is
none: the file, a JSON object, has the `message` of its status and what its `phrases` say.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TextIO

METRICS = """\
# HELP worker_inflight_fragments In flight
# TYPE worker_inflight_fragments gauge
worker_inflight_fragments 2.0
# HELP worker_audio_fragments_total Phrases
# TYPE worker_audio_fragments_total counter
worker_audio_fragments_total{status="dubbed"} 7.0
# TYPE process_open_fds gauge
process_open_fds 9.0
"""


WRITING = threading.Lock()


def write(stream: TextIO, line: str) -> None:
    with WRITING:  # or an answer stands in the middle of another line
        stream.write(line + "\n")
        stream.flush()


def say(line: object) -> None:
    write(sys.stdout, json.dumps(line))


def log(level: str, event: str, **fields: object) -> None:
    write(sys.stderr, json.dumps({"level": level, "event": event, "pid": os.getpid(), **fields}))


def obey(settings: dict, faults: set[str]) -> None:
    """Takes what comes on stdin into its settings and says yes, until stdin ends."""
    for line in sys.stdin:
        control = json.loads(line)
        answer = {"type": "control", "id": control.pop("id")}
        log("info", "told", stream_id=settings["stream_id"], **control)
        if "refusing" in faults:
            say(answer | {"accepted": False, "message": "control: not today"})
        elif "ignoring" not in faults:
            settings.update({key: value for key, value in control.items() if key in settings})
            say(answer | {"accepted": True})
    os._exit(0)


def status(settings: dict) -> dict:
    protocol = settings["input_url"].split(":")[0]
    values = {
        "state": "running",
        "mode": settings["worker"]["mode"],
        "programme": settings["programme"],
        "input_protocol": protocol,
        "delay_ms": 8000.0,
        "av_sync_ms": 0.5,
    }
    return {"type": "status", **values, "metrics": METRICS}


def phrase(number: int) -> dict:
    report = {"type": "phrase", "sequence_number": number, "t0_ms": number * 1000, "started_at": time.time()}
    return report | {"duration_ms": 900, "status": "dubbed", "transcript": f"phrase {number}", "translated_text": "<b>"}


def says(arguments: list[str]) -> dict:
    files = [argument.partition("=")[2] for argument in arguments if argument.startswith("says=")]
    return json.loads(Path(files[0]).read_text()) if files else {"message": "", "phrases": [{}] * 3}


def fail(fault: str) -> None:
    """Ends or blocks the process when `fault` says so."""
    if fault.startswith("exit"):
        log("error", "worker_ends", error=f"told to exit with {fault[4:]}")
        sys.exit(int(fault[4:]))
    if fault == "plain":
        write(sys.stderr, "dubrelay worker: one plain line")
        sys.exit(2)
    if fault == "mute":
        time.sleep(600)


def main() -> None:
    settings = json.loads(sys.stdin.readline())
    faults = set(sys.argv[1:]) | {settings["stream_id"]}
    signal.signal(signal.SIGTERM, signal.SIG_IGN if "deaf" in faults else lambda *_: sys.exit(0))
    log(
        "info",
        "fake_worker_started",
        **{key: settings[key] for key in ("stream_id", "run_id", "input_url", "dub", "glossary")},
    )
    threading.Thread(target=obey, args=(settings, faults), daemon=True).start()
    for fault in faults:
        fail(fault)
    if "child" in faults:
        child = subprocess.Popen(["sleep", "600"])
        log("info", "child", child=child.pid)
    if "runaway" in faults:
        runaway = subprocess.Popen(["sleep", "5"], start_new_session=True)
        log("info", "child", child=runaway.pid)
    told = says(sys.argv[1:])
    say(status(settings) | {"message": told["message"]})
    write(sys.stdout, "not a status")
    write(sys.stdout, "x" * 2_000_000)
    for number, words in enumerate(told["phrases"]):
        say(phrase(number) | words)
    if "large" in faults:
        settings["ballast"] = b"x" * 200_000_000
    if "hang" in faults:
        time.sleep(600)
    if "crash" in faults:
        os.kill(os.getpid(), signal.SIGSEGV)
    if "leave" in faults:
        sys.exit(40)
    while True:
        time.sleep(0.1)
        say(status(settings) | {"message": told["message"]})


if __name__ == "__main__":
    main()
