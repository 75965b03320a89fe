from __future__ import annotations

import pytest

from vtt_grammar import VttCue, parsed

pytestmark = pytest.mark.unit


def test_what_the_standard_allows_is_read() -> None:
    text = (
        "WEBVTT - es\n\n00:01.000 --> 00:02.500\nHola <i>ahí</i> &amp; adiós\n\n"
        "second\n00:00:03.000 --> 100:00:04.000\nA &lt; B\nC\n"
    )
    assert parsed(text) == [
        VttCue(1.0, 2.5, "Hola <i>ahí</i> &amp; adiós"),
        VttCue(3.0, 360_004.0, "A &lt; B\nC"),
    ]
    assert parsed("WEBVTT") == parsed("\ufeffWEBVTT\n\n") == []


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no signature"),
        ("WEBVTTX\n", "no signature"),
        ("webvtt\n", "no signature"),
        ("WEBVTT a --> b\n", "no signature"),
        ("WEBVTT\n00:01.000 --> 00:02.000\nx", "the header ends"),
        ("WEBVTT\n\n00:01,000 --> 00:02,000\nx", "no timings"),
        ("WEBVTT\n\n00:01.00 --> 00:02.000\nx", "no timings"),
        ("WEBVTT\n\n0:01.000 --> 00:02.000\nx", "no timings"),
        ("WEBVTT\n\n00:60.000 --> 01:02.000\nx", "no timings"),
        ("WEBVTT\n\n00:01.000-->00:02.000\nx", "no timings"),
        ("WEBVTT\n\n00:02.000 --> 00:01.000\nx", "ends before"),
        ("WEBVTT\n\n00:02.000 --> 00:02.000\nx", "ends before"),
        ("WEBVTT\n\n00:01.000 --> 00:02.000\n", "without text"),
        ("WEBVTT\n\n00:01.000 --> 00:02.000\nx --> y", "an arrow"),
        ("WEBVTT\n\n00:01.000 --> 00:02.000\na & b", "a < or &"),
        ("WEBVTT\n\n00:01.000 --> 00:02.000\n<script>x", "a < or &"),
        ("WEBVTT\n\n00:01.000 --> 00:02.000\n<img src=x onerror=y>", "a < or &"),
        ("WEBVTT\n\n00:05.000 --> 00:06.000\nx\n\n00:01.000 --> 00:02.000\ny", "before the cue before"),
        ("WEBVTT\n\nNOTE\njust words", "no timings"),
        ("WEBVTT\n\n00:01.000 --> 00:02.000\n\0", "a NUL"),
        ("WEBVTT\n\n00:01.000 --> 00:02.000\n\ud800", "half a character"),
    ],
)
def test_what_is_no_webvtt_is_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parsed(text)
