from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dubrelay.config import Publisher, Settings, Stream, StreamConfig, Term
from dubrelay.orchestrator.plan import (
    ASKED,
    Plan,
    Unsupported,
    asked_in,
    chosen,
    control_for,
    in_force,
    plan_for,
    worker_settings,
)
from dubrelay.worker.desk import Desk

pytestmark = pytest.mark.unit

ANYTHING = Publisher()
GLOSSARY = (Term(source="Bayern"),)


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
    assert plan_for(codecs, "dub", preferred) == Plan(protocol, "dub")


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
    plan = plan_for(codecs, "dub", preferred)
    assert isinstance(plan, Unsupported)
    assert message in plan.message


def test_a_publisher_asks_for_languages_and_voice_in_its_query() -> None:
    asked, warnings = asked_in("key=k&lang=fr&src=pt-br&voice=jm_kumo")
    assert (asked, warnings) == ({"lang": "fr", "src": "pt-br", "voice": "jm_kumo"}, [])
    choice = StreamConfig(target_language="fr", source_language="pt-br", voice="jm_kumo")
    assert chosen(asked, ANYTHING) == (choice, [])


def test_each_value_that_is_not_valid_is_left_out_and_warned_of() -> None:
    choice, warnings = chosen(asked_in("lang=$(id)&src=de&voice=../x")[0], ANYTHING)
    assert choice == StreamConfig(source_language="de")
    assert warnings == ["lang = '$(id)' is not valid; it is not used", "voice = '../x' is not valid; it is not used"]


def test_a_publisher_chooses_only_what_it_may() -> None:
    may = Publisher(lang=("es", "fr"), voice=())
    choice, warnings = chosen({"lang": "de", "src": "it", "voice": "heart"}, may)
    assert choice == StreamConfig(source_language="it")
    assert warnings == [
        "lang = 'de' is not used: publisher_lang of this stream allows only es, fr",
        "voice = 'heart' is not used: publisher_voice of this stream allows no voice in the query",
    ]
    assert chosen({"lang": "fr"}, may)[0] == StreamConfig(target_language="fr")


@given(st.text(max_size=300) | st.text(alphabet="=&;%+langsrcvoie01", max_size=3000))
def test_no_query_breaks_the_ingest(query: str) -> None:
    asked, _ = asked_in(query)
    choice, _ = chosen(asked, ANYTHING)
    assert choice.set_keys().keys() <= set(ASKED.values())


def test_a_query_of_a_thousand_fields_is_not_used() -> None:
    asked, warnings = asked_in("&".join(["lang=fr"] * 1000))
    assert asked == {}
    assert len(warnings) == 1


def test_every_key_of_a_stream_counts() -> None:
    """One that no section takes up would be a setting without any effect."""
    values = {
        "mode": "bypass",
        "programme": "silence",
        "source_language": "de",
        "target_language": "fr",
        "voice": "heart",
        "fallback": "ducked",
        "floor_gain_db": -6.0,
        "original_gain_db": -20.0,
        "glossary": GLOSSARY,
        "record": True,
        "publisher_lang": ("fr",),
        "publisher_src": ("de",),
        "publisher_voice": (),
    }
    assert set(StreamConfig.model_fields) == set(values)
    stream = StreamConfig.model_validate(values)
    assert in_force(Settings(), stream) == stream
    told = worker_settings(Settings(), "abc", "run1", Plan("rtmp", "bypass"), stream)
    assert (told.worker.mode, told.programme, told.glossary) == ("bypass", "silence", GLOSSARY)
    assert (told.dub.source_language, told.dub.target_language, told.dub.voice) == ("de", "fr", "heart")
    assert (told.dub.fallback, told.mix.floor_gain_db, told.mix.original_gain_db) == ("ducked", -6, -20)


def test_what_is_not_set_is_as_the_sections_say() -> None:
    settings = Settings()
    default = in_force(settings, Stream())
    assert (default.mode, default.programme, default.glossary) == ("dub", "dub", ())
    assert (default.target_language, default.floor_gain_db) == (
        settings.dub.target_language,
        settings.mix.floor_gain_db,
    )


def test_a_worker_in_bypass_mode_is_never_asked_to_dub() -> None:
    bypassing = in_force(Settings(), StreamConfig(mode="bypass", programme="dub"))
    assert bypassing.programme == "bypass"
    silent = in_force(Settings(), StreamConfig(mode="bypass", programme="silence", voice="heart"))
    control = control_for(bypassing, silent)
    assert control is not None
    assert control.model_dump(exclude_none=True) == {"id": "", "programme": "silence"}


STREAMS = st.builds(
    StreamConfig,
    programme=st.sampled_from([None, "dub", "bypass", "silence"]),
    source_language=st.sampled_from([None, "auto", "de"]),
    target_language=st.sampled_from([None, "es", "fr"]),
    voice=st.sampled_from([None, "heart"]),
    fallback=st.sampled_from([None, "original", "silence"]),
    floor_gain_db=st.sampled_from([None, -6.0]),
    original_gain_db=st.sampled_from([None, 0.0]),
    glossary=st.sampled_from([None, (), GLOSSARY]),
)


@given(STREAMS, STREAMS)
def test_a_worker_told_what_changed_is_as_one_started_with_it(before: StreamConfig, after: StreamConfig) -> None:
    """Started with `before` and told the difference: the same desk as started with `after`."""
    before, after = in_force(Settings(), before), in_force(Settings(), after)
    control = control_for(before, after)
    desk = Desk.at_start(worker_settings(Settings(), "abc", "run1", Plan("rtmp", "dub"), before))
    there = Desk.at_start(worker_settings(Settings(), "abc", "run1", Plan("rtmp", "dub"), after))
    assert (control is None) == (before == after)
    assert (desk.after(control) if control else desk) == there


@given(STREAMS, STREAMS, STREAMS)
def test_layers_lie_over_each_other_key_by_key(low: StreamConfig, middle: StreamConfig, high: StreamConfig) -> None:
    whole = low.under(middle).under(high)
    for key in StreamConfig.model_fields:
        values = [getattr(layer, key) for layer in (high, middle, low) if getattr(layer, key) is not None]
        assert getattr(whole, key) == (values[0] if values else None)


def test_the_worker_gets_the_settings_of_its_stream() -> None:
    told = worker_settings(Settings(), "abc", "run1", Plan("rtsp", "dub"), in_force(Settings(), Stream()))
    assert told.input_url == "rtsp://127.0.0.1:8554/live/abc/in"
    assert told.output_url == "rtmp://127.0.0.1:1935/live/abc/out"
