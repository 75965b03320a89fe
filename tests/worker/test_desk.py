from __future__ import annotations

import pytest

from dubrelay.config import Settings, Term
from dubrelay.wire.control import Control, ControlRefused, parse_control
from dubrelay.wire.worker import WorkerSettings
from dubrelay.worker.desk import Desk

pytestmark = pytest.mark.unit


def desk() -> Desk:
    return Desk.at_start(WorkerSettings.for_stream(Settings(), "abc", "run-1", "rtmp"))


def test_a_control_changes_what_it_names_and_nothing_else() -> None:
    before = desk()
    after = before.after(parse_control('{"floor_gain_db": -6, "voice": "heart", "glossary": [{"source": "Bayern"}]}'))
    assert (after.mix.floor_gain_db, after.mix.original_gain_db) == (-6, before.mix.original_gain_db)
    assert (after.languages.voice_profile, after.languages.glossary) == ("heart", (Term(source="Bayern"),))
    assert (after.programme, after.fallback) == (before.programme, before.fallback)
    assert before.after(Control()) == before


def test_every_key_of_a_control_reaches_the_desk() -> None:
    values = {
        "programme": "bypass",
        "source_language": "es",
        "target_language": "en",
        "voice": "heart",
        "fallback": "ducked",
        "floor_gain_db": -3,
        "original_gain_db": -20,
        "glossary": (Term(source="a", target="b"),),
    }
    assert set(Control.model_fields) == {"id", *values}
    for key, value in values.items():
        assert desk().after(Control.model_validate({key: value})) != desk(), key


def test_a_language_is_detected_only_where_that_is_asked_for() -> None:
    assert not desk().detects
    assert desk().after(parse_control('{"source_language": "auto"}')).detects
    with pytest.raises(ControlRefused, match="target_language = 'auto'"):
        parse_control('{"target_language": "auto"}')


def test_context_goes_with_the_languages_not_with_the_voice() -> None:
    assert desk().after(Control(voice="heart", programme="silence")).speaks_as(desk())
    assert not desk().after(Control(target_language="fr")).speaks_as(desk())
    assert not desk().after(Control(source_language="fr")).speaks_as(desk())


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("nonsense", "not JSON"),
        ("[" * 90_000, "not JSON"),
        ('{"voice": "' + "x" * 100_000 + '"}', "longer than 100000 characters"),
        ("[]", "control"),
        ('{"programme": "loud"}', "programme = 'loud'"),
        ('{"volume": 3}', "volume: there is no such key"),
        ('{"floor_gain_db": 3}', "floor_gain_db = 3"),
        ('{"target_language": "../x"}', "target_language = '../x'"),
        ('{"glossary": [{"source": ""}]}', "glossary.0.source"),
    ],
)
def test_a_wrong_control_is_refused_with_what_is_wrong(line: str, says: str) -> None:
    with pytest.raises(ControlRefused, match="control") as caught:
        parse_control(line)
    assert says in caught.value.message
    assert len(caught.value.message) < 500


def test_a_refused_control_keeps_its_id() -> None:
    with pytest.raises(ControlRefused) as caught:
        parse_control('{"id": "b", "programme": "nope"}')
    assert caught.value.id == "b"
