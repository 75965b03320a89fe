from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dubrelay.demo.access_units import AccessUnit, access_units, match
from flash_and_beep import flash_and_beep

pytestmark = pytest.mark.service


def _units(digests: str, start_s: float = 0.0) -> list[AccessUnit]:
    return [AccessUnit(start_s + n / 25, digest) for n, digest in enumerate(digests)]


@given(length=st.integers(1, 30), first=st.integers(0, 29), count=st.integers(1, 100))
def test_any_run_of_what_was_published_again_and_again_is_recognised(length: int, first: int, count: int) -> None:
    published = [AccessUnit(n / 25, str(n)) for n in range(length)]
    recorded = [AccessUnit(7 + n / 25, str((first + n) % length)) for n in range(count)]
    found = match(published, recorded)
    assert found is not None
    assert (found.equal, found.first) == (count, first % length)
    assert found.offset_s == pytest.approx(7 - (first % length) / 25)


@pytest.mark.parametrize(("recorded", "equal"), [("cdxfg", 2), ("cdfg", 2), ("ccde", 1)])
def test_a_changed_lost_or_doubled_access_unit_ends_the_run(recorded: str, equal: int) -> None:
    found = match(_units("abcdefg"), _units(recorded))
    assert found is not None
    assert (found.equal, found.recorded) == (equal, len(recorded))


def test_of_equal_pictures_the_longest_run_counts() -> None:
    found = match(_units("aabaac"), _units("aac"))
    assert found is not None
    assert (found.first, found.equal) == (3, 3)


@pytest.mark.parametrize("recorded", ["", "xyz"])
def test_what_was_never_published_is_not_recognised(recorded: str) -> None:
    assert match(_units("abc"), _units(recorded)) is None


@pytest.mark.parametrize("container", ["mkv", "flv", "ts"])
def test_access_units_do_not_depend_on_the_container(tmp_path: Path, container: str) -> None:
    clip = flash_and_beep(tmp_path / "clip.mp4", 2, b_frames=2)
    other = tmp_path / f"other.{container}"
    subprocess.run(["ffmpeg", "-nostdin", "-v", "error", "-i", clip, "-c", "copy", other], check=True)
    assert [u.digest for u in access_units(other)] == [u.digest for u in access_units(clip)]
    assert len(access_units(clip)) == 50
