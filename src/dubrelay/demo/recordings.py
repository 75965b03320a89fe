"""The user's own recordings, made ready to be published: H.264 and AAC in one file, converted once."""

from __future__ import annotations

import hashlib
import math
import tempfile
from pathlib import Path
from typing import Any

from dubrelay.demo.picture import FRAME_RATE, PICTURE, convert, picture_filter
from dubrelay.demo.programme import Programme
from dubrelay.errors import ConfigError
from dubrelay.ffmpeg import CONTAINERS, duration_s, probe, stream_of

PAUSE_S = 1.0
_SOUND = ("-ar", "48000", "-ac", "2")
_AAC = ("-c:a", "aac", "-b:a", "128k", *_SOUND)


def prepare(source: Path, directory: Path) -> Programme:
    """A file, or all recordings of a folder in the order of their names with a pause between, as one file to publish.

    Sound alone gets a test picture with the file's name. ConfigError when there is nothing to hear.
    """
    files = _files(source)
    out = directory / f"input-{_fingerprint(files)}.mp4"
    if not out.exists():
        directory.mkdir(parents=True, exist_ok=True)
        if len(files) == 1:
            _convert_one(files[0], out)
        else:
            _join(files, out)
    return Programme(path=out, seconds=duration_s(out))


def _files(source: Path) -> list[Path]:
    if not source.exists():
        raise ConfigError(f"INPUT={source}: there is no such file or folder")
    if source.is_file():
        if not _has_sound(source):
            raise ConfigError(f"INPUT={source}: has no sound to dub")
        return [source]
    found = sorted(p for p in source.iterdir() if p.is_file() and p.suffix.lower() in CONTAINERS)
    audible = [p for p in found if _has_sound(p)]
    if not audible:
        raise ConfigError(f"INPUT={source}: no recording in this folder; looked for {' '.join(CONTAINERS)}")
    return audible


def _has_sound(path: Path) -> bool:
    return stream_of(probe(path), "audio") is not None


def _fingerprint(files: list[Path]) -> str:
    facts = [f"{f.resolve()}\0{f.stat().st_size}\0{f.stat().st_mtime_ns}" for f in files]
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16]


def _convert_one(file: Path, out: Path) -> None:
    found = probe(file)
    video, audio = stream_of(found, "video"), stream_of(found, "audio")
    assert audio is not None
    if video is None:
        with tempfile.TemporaryDirectory() as scratch:
            _convert_with_picture(file, Path(scratch) / "caption.txt", ["-t", f"{_length_s(found):g}", *_AAC], out)
        return
    picture = ["-c:v", "copy"] if _publishable_picture(video) else list(PICTURE)
    sound = ["-c:a", "copy"] if _publishable_sound(audio) else list(_AAC)
    maps = ["-map", f"0:{video['index']}", "-map", f"0:{audio['index']}"]
    convert(["-i", str(file), *maps, *picture, *sound], out)


def _publishable_picture(video: dict[str, Any]) -> bool:
    return video["codec_name"] == "h264" and video.get("pix_fmt") in {"yuv420p", "yuvj420p"}


def _publishable_sound(audio: dict[str, Any]) -> bool:
    return audio["codec_name"] == "aac" and audio.get("profile") == "LC" and int(audio["sample_rate"]) in {44100, 48000}


def _convert_with_picture(file: Path, caption: Path, arguments: list[str], out: Path) -> None:
    caption.write_text(file.name, encoding="utf-8")
    inputs = ["-i", str(file), "-f", "lavfi", "-i", picture_filter(caption)]
    convert([*inputs, "-map", "1:v", "-map", "0:a:0", *PICTURE, *arguments], out)


def _join(files: list[Path], out: Path) -> None:
    """Each file alike (sound still uncompressed: no gap of an encoder between them), then one after the other."""
    with tempfile.TemporaryDirectory(dir=out.parent) as scratch:
        lines = [_part(file, Path(scratch) / f"{nth:05}.nut") for nth, file in enumerate(files)]
        names = Path(scratch) / "parts.txt"
        names.write_text("".join(lines), encoding="utf-8")
        convert(["-f", "concat", "-i", str(names), "-c:v", "copy", *_AAC], out)


def _part(file: Path, out: Path) -> str:
    """Its lines for ffmpeg's concat, with the length: the one that the container states is a frame too long."""
    found = probe(file)
    length_s = f"{_length_s(found) + PAUSE_S:.2f}"
    length = ["-af", "apad", "-t", length_s, "-c:a", "pcm_s16le", *_SOUND]
    if stream_of(found, "video") is None:
        _convert_with_picture(file, out.with_suffix(".txt"), length, out)
    else:
        fitted = (
            "scale=960:540:force_original_aspect_ratio=decrease,pad=960:540:-1:-1,setsar=1"
            f",fps={FRAME_RATE},tpad=stop_mode=clone:stop=-1"
        )
        convert(["-i", str(file), "-map", "0:v:0", "-map", "0:a:0", "-vf", fitted, *PICTURE, *length], out)
    return f"file '{out.name}'\nduration {length_s}\n"


def _length_s(found: dict[str, Any]) -> float:
    """Of a file, up to a whole frame."""
    return math.ceil(float(found["format"]["duration"]) * FRAME_RATE) / FRAME_RATE
