"""AAC as a track carries it: what its AudioSpecificConfig says, and frames of silence that fit between its own. Pure.

Source: ISO/IEC 14496-3, 1.6.2.1 (AudioSpecificConfig), 4.4.1.1 (GASpecificConfig), 4.4.2.1 (raw_data_block).
"""

from __future__ import annotations

from dataclasses import dataclass

_RATES_HZ = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
_LOW_COMPLEXITY, _SPECTRAL_BAND_REPLICATION, _PARAMETRIC_STEREO = 2, 5, 29
_EXTENSION_FOLLOWS = 0x2B7
_SINGLE, _PAIR, _LOW_FREQUENCY, _END = 0, 1, 3, 7
_ELEMENTS = {
    1: (_SINGLE,),
    2: (_PAIR,),
    3: (_SINGLE, _PAIR),
    4: (_SINGLE, _PAIR, _SINGLE),
    5: (_SINGLE, _PAIR, _PAIR),
    6: (_SINGLE, _PAIR, _PAIR, _LOW_FREQUENCY),
    7: (_SINGLE, _PAIR, _PAIR, _PAIR, _LOW_FREQUENCY),
}
"""What a frame is made of, by channel configuration."""
_CHANNELS = {1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 6, 7: 8}
FRAME_SAMPLES = 1024


@dataclass(frozen=True)
class AacFormat:
    """AAC-LC, alone or as the core of HE-AAC."""

    rate_hz: int
    """Of the core: a frame lasts 1024 / rate_hz s, in HE-AAC too."""
    channel_configuration: int
    extension: int = 0
    """0: LC; 5: HE-AAC; 29: HE-AAC v2, said so in the config."""

    @property
    def channels(self) -> int:
        return _CHANNELS[self.channel_configuration]

    @property
    def frame_ns(self) -> int:
        return FRAME_SAMPLES * 1_000_000_000 // self.rate_hz

    def silent_frame(self) -> bytes:
        """A whole frame without a single coefficient; what a decoder makes of it is digital silence."""
        bits = ""
        count = {_SINGLE: 0, _PAIR: 0, _LOW_FREQUENCY: 0}
        for kind in _ELEMENTS[self.channel_configuration]:
            bits += f"{kind:03b}{count[kind]:04b}" + (_SILENT_PAIR if kind == _PAIR else _SILENT_CHANNEL)
            count[kind] += 1
        bits += f"{_END:03b}"
        bits += "0" * (-len(bits) % 8)
        return int(bits, 2).to_bytes(len(bits) // 8, "big")


_ICS_INFO = "0" + "00" + "0" + "000000" + "0"
"""A long window that begins and ends as a sine, no scale factor bands, no prediction."""
_GLOBAL_GAIN, _NO_PULSE_TNS_GAIN = "00000000", "000"
_SILENT_CHANNEL = _GLOBAL_GAIN + _ICS_INFO + _NO_PULSE_TNS_GAIN
_SILENT_PAIR = "1" + _ICS_INFO + "00" + 2 * (_GLOBAL_GAIN + _NO_PULSE_TNS_GAIN)

DEFAULT_FORMAT = AacFormat(48_000, 2)
DEFAULT_CONFIG = bytes.fromhex("1190")


def parse_config(config: bytes) -> AacFormat | None:
    """What an AudioSpecificConfig says; None where silence to go with it cannot be made (or it is broken)."""
    bits = _Bits(config)
    try:
        return _parsed(bits)
    except IndexError:
        return None


def _parsed(bits: _Bits) -> AacFormat | None:
    kind, extension = bits.take(5), 0
    rate_hz = _rate(bits)
    channel_configuration = bits.take(4)
    if kind in {_SPECTRAL_BAND_REPLICATION, _PARAMETRIC_STEREO}:
        extension = kind
        _rate(bits)
        kind = bits.take(5)
    short_frames, _core_coder, _extended = bits.take(1), bits.take(1), bits.take(1)
    if kind != _LOW_COMPLEXITY or short_frames or rate_hz is None or channel_configuration not in _ELEMENTS:
        return None
    if not extension and bits.left >= 17 and bits.take(11) == _EXTENSION_FOLLOWS:
        follows, present = bits.take(5), bits.take(1)
        extension = follows if present else 0
    return AacFormat(rate_hz, channel_configuration, extension)


def _rate(bits: _Bits) -> int | None:
    index = bits.take(4)
    if index == 15:
        return bits.take(24)
    return _RATES_HZ[index] if index < len(_RATES_HZ) else None


class _Bits:
    """Bits of a byte string, the most significant first. Raises IndexError at the end."""

    def __init__(self, data: bytes) -> None:
        self._text = "".join(f"{byte:08b}" for byte in data)

    @property
    def left(self) -> int:
        return len(self._text)

    def take(self, count: int) -> int:
        if count > len(self._text):
            raise IndexError
        taken, self._text = self._text[:count], self._text[count:]
        return int(taken, 2)
