"""The demo's test picture, and files made by ffmpeg that are there only when they are whole."""

from __future__ import annotations

import subprocess
from pathlib import Path

from dubrelay.errors import StartupError
from dubrelay.ffmpeg import QUIET, last_line

FRAME_RATE = 25
PICTURE = (
    *("-c:v", "libx264", "-preset", "superfast", "-pix_fmt", "yuv420p", "-bf", "2"),
    *("-g", str(2 * FRAME_RATE), "-keyint_min", str(2 * FRAME_RATE), "-sc_threshold", "0"),
    *("-b:v", "1500k", "-maxrate", "2000k", "-bufsize", "2000k"),
)


def picture_filter(caption: Path | None = None) -> str:
    """A lavfi source without end: a moving test picture with a clock, and the text of a file, if one is given."""
    clock = (
        "drawtext=font=DejaVu Sans Mono:text='%{pts\\:hms}':fontsize=48:fontcolor=white"
        ":box=1:boxcolor=black@0.7:boxborderw=12:x=(w-tw)/2:y=h-th-40"
    )
    source = f"testsrc2=size=960x540:rate={FRAME_RATE},{clock}"
    if caption is None:
        return source
    style = "fontsize=30:fontcolor=white:box=1:boxcolor=black@0.7:boxborderw=8:x=40:y=60"
    return f"{source},drawtext=font=DejaVu Sans:textfile={caption}:expansion=none:{style}"


def convert(arguments: list[str], out: Path) -> None:
    """Runs ffmpeg with `arguments` into `out`, which is there only when it is whole."""
    partial = out.with_name(out.name + ".partial")
    container = {".nut": "nut", ".mp4": "mp4"}[out.suffix]
    command = [*QUIET, "-y", *arguments, "-f", container, str(partial)]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE) as encoder:
        finish(encoder, partial, out)


def finish(encoder: subprocess.Popen[bytes], partial: Path, out: Path) -> None:
    """Waits for ffmpeg to end and puts its file in its place; StartupError with its last words when it failed."""
    assert encoder.stderr is not None
    words = encoder.stderr.read().decode(errors="replace")
    if encoder.wait():
        partial.unlink(missing_ok=True)
        raise StartupError(f"{out}: ffmpeg could not make it: {last_line(words)}")
    partial.replace(out)
