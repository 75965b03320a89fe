from __future__ import annotations

import pytest

from dubrelay.orchestrator.renditions import Rendition, both, named

pytestmark = pytest.mark.unit

MEDIAMTX = """#EXTM3U
#EXT-X-VERSION:9
#EXT-X-INDEPENDENT-SEGMENTS

#EXT-X-MEDIA:TYPE="AUDIO",GROUP-ID="audio",NAME="audio2",AUTOSELECT=YES,DEFAULT=YES,URI="audio2_stream.m3u8?session=1"
#EXT-X-MEDIA:TYPE="AUDIO",GROUP-ID="audio",NAME="audio3",AUTOSELECT=YES,URI="audio3_stream.m3u8?session=1"

#EXT-X-STREAM-INF:BANDWIDTH=643,CODECS="avc1.42c01e,mp4a.40.2",RESOLUTION=320x180,FRAME-RATE=25.000,AUDIO="audio"
main_stream.m3u8?session=1
"""


def test_the_sounds_get_their_names_and_languages_and_the_rest_stays() -> None:
    shown = named(MEDIAMTX, both("es", "en"))
    before, after = MEDIAMTX.splitlines(), shown.splitlines()
    assert [line for line in after if "MEDIA:" not in line] == [line for line in before if "MEDIA:" not in line]
    dub, original = (line for line in after if "MEDIA:" in line)
    assert 'NAME="Español",LANGUAGE="es",AUTOSELECT=YES,DEFAULT=YES,URI="audio2_stream' in dub
    assert 'NAME="Original",LANGUAGE="en",AUTOSELECT=YES,URI="audio3_stream' in original


def test_without_quotes_as_rfc_8216_has_it_too() -> None:
    assert 'NAME="Español"' in named(MEDIAMTX.replace('"AUDIO"', "AUDIO", 2), both("es", "en"))


@pytest.mark.parametrize(
    ("target", "source", "names"),
    [
        ("pt-br", "auto", (Rendition("Português", "pt-br"), Rendition("Original", ""))),
        ("xx", "ja", (Rendition("xx", "xx"), Rendition("Original", "ja"))),
    ],
)
def test_what_is_not_known_is_not_said(target: str, source: str, names: tuple[Rendition, Rendition]) -> None:
    assert both(target, source) == names


def test_a_playlist_with_one_sound_or_three_stays_whole() -> None:
    one = MEDIAMTX.replace("AUDIO", "VIDEO")
    assert named(one, both("es", "en")) == one
    third = MEDIAMTX.replace('NAME="audio3"', 'NAME="audio3"\n#EXT-X-MEDIA:TYPE="AUDIO",NAME="audio4"')
    assert 'NAME="audio4"' in named(third, both("es", "en"))
    assert "LANGUAGE" not in named(MEDIAMTX, ()), "nobody said what they are called"


def test_a_language_that_is_not_known_has_no_attribute() -> None:
    assert named(MEDIAMTX, both("es", "auto")).count("LANGUAGE") == 1
