from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from dubrelay.orchestrator.segments import (
    STALE_S,
    all_segments,
    captions_file,
    delete,
    file_of,
    folder,
    length_s,
    segments,
)

pytestmark = pytest.mark.unit

FIRST, SECOND = "2026-11-26T16-50-21-123456Z", "2026-11-26T17-50-31-000000+0100"
FIRST_AT = 1795711821.123456


def header(duration_ms: int) -> bytes:
    """The beginning of a file as MediaMTX writes it: `ftyp`, then `moov` with `mvhd`, version 0, in ms."""
    mvhd = struct.pack(">I4sIIIII", 108, b"mvhd", 0, 0, 0, 1000, duration_ms) + bytes(80)
    return struct.pack(">I4s", 20, b"ftyp") + bytes(12) + struct.pack(">I4s", 8 + len(mvhd), b"moov") + mvhd


def put(directory: Path, name: str, *, stream_id: str = "x", content: bytes = b"", changed: float = FIRST_AT) -> Path:
    file = folder(directory, stream_id) / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    os.utime(file, (changed, changed))
    return file


def test_a_name_is_a_time_in_any_zone(tmp_path: Path) -> None:
    put(tmp_path, f"{SECOND}.mp4")
    put(tmp_path, f"{FIRST}.mp4")
    first, second = segments(tmp_path, "x", FIRST_AT)
    assert (first.name, first.start) == (FIRST, pytest.approx(FIRST_AT, abs=1e-5))
    assert second.start - first.start == pytest.approx(9.876544, abs=1e-5)


def test_what_others_put_there_is_not_seen_counted_or_deleted(tmp_path: Path) -> None:
    outside = tmp_path / "outside.mp4"
    outside.write_bytes(b"x" * 1000)
    directory = tmp_path / "recordings"
    own = put(directory, f"{FIRST}.mp4", content=b"12345")
    foreign = [put(directory, name) for name in ("a.mp4", f"{FIRST}.mp4.bak", "notes.txt", f"{FIRST}.ES.vtt")]
    link = own.with_name("2026-11-26T16-50-22-000000Z.mp4")
    link.symlink_to(outside)
    (directory / "live" / "y").symlink_to(own.parents[1])
    (folder(directory, "x") / "2026-11-26T16-50-23-000000Z.mp4").mkdir()
    (folder(directory, "x") / "2026-99-26T16-50-23-000000Z.mp4").write_bytes(b"no such month")
    (found,) = all_segments(directory, FIRST_AT)
    assert (found.stream_id, found.name, found.size) == ("x", FIRST, 5)
    delete(directory, found)
    assert not own.exists()
    assert all(file.exists() for file in (*foreign, outside))
    assert link.is_symlink()


def test_captions_belong_to_it_and_go_with_it(tmp_path: Path) -> None:
    put(tmp_path, f"{FIRST}.mp4", content=b"12345")
    for language in ("es", "pt-br"):
        put(tmp_path, f"{FIRST}.{language}.vtt", content=b"123")
    put(tmp_path, f"{SECOND}.es.vtt", content=b"of another one")
    (found,) = segments(tmp_path, "x", FIRST_AT)
    assert (found.captions, found.size) == (("es", "pt-br"), 11)
    delete(tmp_path, found)
    assert [file.name for file in folder(tmp_path, "x").iterdir()] == [f"{SECOND}.es.vtt"]


def test_the_latest_is_open_until_its_writer_ends_it_or_is_gone(tmp_path: Path) -> None:
    put(tmp_path, f"{FIRST}.mp4", content=header(0))
    put(tmp_path, f"{SECOND}.mp4", content=header(0), changed=FIRST_AT + 20)

    def is_open(now: float) -> list[bool]:
        return [segment.open for segment in segments(tmp_path, "x", now)]

    assert is_open(FIRST_AT + 21) == [False, True]
    assert is_open(FIRST_AT + 21 + STALE_S) == [False, False]
    put(tmp_path, f"{SECOND}.mp4", content=header(10_500), changed=FIRST_AT + 21)
    assert is_open(FIRST_AT + 21) == [False, False]


def test_its_length_is_what_its_writer_says_else_how_long_it_grew(tmp_path: Path) -> None:
    put(tmp_path, f"{FIRST}.mp4", content=header(10_500), changed=FIRST_AT + 99)
    (ended,) = segments(tmp_path, "x", FIRST_AT)
    assert length_s(tmp_path, ended) == 10.5
    put(tmp_path, f"{FIRST}.mp4", content=header(0), changed=FIRST_AT + 7)
    (cut_off,) = segments(tmp_path, "x", FIRST_AT)
    assert length_s(tmp_path, cut_off) == pytest.approx(7, abs=1e-3)


def test_a_directory_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert all_segments(tmp_path / "nowhere", 0) == []


@pytest.mark.parametrize(
    ("stream_id", "name"),
    [
        ("x", f"../out/{FIRST}.mp4"),
        ("x", "../../../../secret.mp4"),
        ("x", ".phrases.jsonl"),
        ("x", f"{FIRST}.mp4\0"),
        ("x", f"{FIRST}.mp4\n"),
        ("x", f"{FIRST}.mp4/"),
        ("x", f"/{FIRST}.mp4"),
        ("x", ""),
        ("../x", f"{FIRST}.mp4"),
        ("x\n", f"{FIRST}.mp4"),
        ("", f"{FIRST}.mp4"),
        ("linked", f"{FIRST}.mp4"),
        ("x", "2026-11-26T16-50-22-000000Z.mp4"),
        ("x", "2026-11-26T16-50-23-000000Z.mp4"),
    ],
)
def test_nothing_but_a_recording_is_handed_out(tmp_path: Path, stream_id: str, name: str) -> None:
    (tmp_path / "secret.mp4").write_bytes(b"secret")
    directory = tmp_path / "recordings"
    own = put(directory, f"{FIRST}.mp4")
    put(directory, ".phrases.jsonl")
    own.with_name("2026-11-26T16-50-22-000000Z.mp4").symlink_to(tmp_path / "secret.mp4")
    own.with_name("2026-11-26T16-50-23-000000Z.mp4").mkdir()
    (directory / "live" / "linked").symlink_to(directory / "live" / "x")
    assert file_of(directory, "x", f"{FIRST}.mp4") == own
    assert file_of(directory, stream_id, name) is None


def test_captions_have_the_name_that_players_look_for(tmp_path: Path) -> None:
    put(tmp_path, f"{FIRST}.mp4")
    (found,) = segments(tmp_path, "x", FIRST_AT)
    assert captions_file(tmp_path, found, "es").name == f"{FIRST}.es.vtt"
