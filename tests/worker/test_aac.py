"""AAC configs as encoders write them, and silence that ffmpeg's decoder takes for it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from dubrelay.worker.aac import FRAME_SAMPLES, AacFormat, parse_config

pytestmark = pytest.mark.unit

_RATE_INDEX = {48_000: 3, 44_100: 4, 24_000: 6}


@pytest.mark.parametrize(
    ("config", "format_"),
    [
        ("1190", AacFormat(48_000, 2)),
        ("1210", AacFormat(44_100, 2)),
        ("119056e500", AacFormat(48_000, 2)),  # ffmpeg's encoder: "no spectral band replication follows"
        ("131056e59d4880", AacFormat(24_000, 2, extension=5)),
        ("2b11880800", AacFormat(24_000, 2, extension=5)),
        ("eb09880800", AacFormat(24_000, 1, extension=29)),
        ("11b0", AacFormat(48_000, 6)),
        ("178000bb8008", AacFormat(96_000, 1)),
    ],
)
def test_what_a_config_says(config: str, format_: AacFormat) -> None:
    if config == "178000bb8008":  # the rate spelled out in 24 bits
        config = f"{int(f'{2:05b}{15:04b}{96_000:024b}{1:04b}000', 2):010x}"
    assert parse_config(bytes.fromhex(config)) == format_


@pytest.mark.parametrize(
    ("config", "what"),
    [
        ("", "empty"),
        ("11", "too short"),
        ("1180", "channels by a table of their own"),
        ("0990", "AAC-Main"),
        ("1194", "960 samples"),
    ],
)
def test_configs_that_silence_cannot_be_made_for(config: str, what: str) -> None:
    assert parse_config(bytes.fromhex(config)) is None, what


@pytest.mark.parametrize("rate_hz", [48_000, 44_100, 24_000])
@pytest.mark.parametrize("configuration", [1, 2, 3, 4, 5, 6, 7])
def test_silent_frames_decode_to_silence_of_all_channels(tmp_path: Path, rate_hz: int, configuration: int) -> None:
    format_ = AacFormat(rate_hz, configuration)
    frame = format_.silent_frame()
    (tmp_path / "silence.aac").write_bytes(20 * (_adts(rate_hz, configuration, len(frame)) + frame))
    command = ["ffmpeg", "-nostdin", "-v", "error", "-xerror", "-i", str(tmp_path / "silence.aac")]
    sound = subprocess.run([*command, "-f", "f32le", "-"], check=True, capture_output=True)
    assert not sound.stderr
    samples = np.frombuffer(sound.stdout, np.float32).reshape(-1, format_.channels)
    assert len(samples) == 20 * FRAME_SAMPLES
    assert not samples.any()
    show = ["ffprobe", "-v", "error", "-show_entries", "stream=channels,sample_rate", "-of", "json"]
    shown = subprocess.run([*show, str(tmp_path / "silence.aac")], check=True, capture_output=True).stdout
    assert json.loads(shown)["streams"] == [{"sample_rate": str(rate_hz), "channels": format_.channels}]


def _adts(rate_hz: int, configuration: int, length: int) -> bytes:
    """The header that makes a raw frame a file. Source: ISO/IEC 13818-7, 6.2."""
    bits = (
        f"{0xFFF:012b}0001"
        + f"01{_RATE_INDEX[rate_hz]:04b}0{configuration:03b}0000"
        + f"{length + 7:013b}{0x7FF:011b}00"
    )
    return int(bits, 2).to_bytes(7, "big")
