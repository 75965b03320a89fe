from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dubrelay.config import Dub, Settings
from dubrelay.orchestrator.plan import Plan, Unsupported, dub_asked_for, plan_for, worker_settings

pytestmark = pytest.mark.unit

DUB = Dub()


@pytest.mark.parametrize(
    ("codecs", "preferred", "protocol"),
    [
        (["H264", "MPEG-4 Audio"], "auto", "rtmp"),
        (["MPEG-4 Audio", "H264"], "auto", "rtmp"),
        (["H264", "MPEG-1/2 Audio"], "auto", "rtmp"),
        (["H264", "Opus"], "auto", "srt"),
        (["H264", "Opus", "MPEG-4 Audio"], "auto", "srt"),
        (["H264", "MPEG-4 Audio"], "rtsp", "rtsp"),
        (["H264", "MPEG-4 Audio"], "srt", "srt"),
        (["H264", "MPEG-4 Audio"], "rtmp", "rtmp"),
        (["H264"], "auto", "rtmp"),
    ],
)
def test_the_way_in_follows_the_tracks(codecs: list[str], preferred: str, protocol: str) -> None:
    assert plan_for(codecs, DUB, preferred) == Plan(protocol, DUB)


@pytest.mark.parametrize(
    ("codecs", "preferred", "message"),
    [
        (
            ["H265", "MPEG-4 Audio"],
            "auto",
            "the picture must be H264, set the encoder to it; the publisher sends H265",
        ),
        (["VP9"], "auto", "the picture must be H264"),
        (
            ["MPEG-4 Audio"],
            "auto",
            "no H264 picture was found, MediaMTX lists MPEG-4 Audio: set the encoder to H264; a",
        ),
        (["Generic", "Opus"], "auto", "such as AV1 in MPEG-TS, it drops"),
        ([], "auto", "no H264 picture was found, MediaMTX lists no tracks"),
        (["H264", "G711"], "auto", "the sound must be one of MPEG-1/2 Audio, MPEG-4 Audio, Opus"),
        (["H264", "Opus"], "rtmp", "worker.input = 'rtmp' cannot carry Opus"),
    ],
)
def test_what_no_worker_can_take_is_said(codecs: list[str], preferred: str, message: str) -> None:
    plan = plan_for(codecs, DUB, preferred)
    assert isinstance(plan, Unsupported)
    assert message in plan.message


def test_a_publisher_asks_for_languages_and_voice_in_its_query() -> None:
    dub, warnings = dub_asked_for("key=k&lang=fr&src=pt-br&voice=jm_kumo", DUB)
    assert (dub.target_language, dub.source_language, dub.voice) == ("fr", "pt-br", "jm_kumo")
    assert warnings == []


def test_each_value_that_is_not_valid_is_replaced_and_warned_of() -> None:
    dub, warnings = dub_asked_for("lang=$(id)&src=de&voice=../x", DUB)
    assert dub == Dub(source_language="de")
    assert warnings == [
        "lang = '$(id)' is not valid; using 'es'",
        "voice = '../x' is not valid; using 'default'",
    ]


@given(st.text(max_size=300) | st.text(alphabet="=&;%+langsrcvoie01", max_size=3000))
def test_no_query_breaks_the_ingest(query: str) -> None:
    dub, _ = dub_asked_for(query, DUB)
    assert isinstance(dub, Dub)


def test_a_query_of_a_thousand_fields_is_not_used() -> None:
    dub, warnings = dub_asked_for("&".join(["lang=fr"] * 1000), DUB)
    assert dub == DUB
    assert len(warnings) == 1


def test_the_worker_gets_the_settings_of_its_stream() -> None:
    told = worker_settings(Settings(), "abc", "run1", Plan("rtsp", Dub(target_language="fr")))
    assert told.input_url == "rtsp://127.0.0.1:8554/live/abc/in"
    assert told.output_url == "rtmp://127.0.0.1:1935/live/abc/out"
    assert told.dub.target_language == "fr"
