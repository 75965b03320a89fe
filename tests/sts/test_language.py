"""When a stream's language changes, and when it does not."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dubrelay.sts.language import Settled, settled

pytestmark = pytest.mark.unit

DUBBED = {"en", "fr", "de"}
"""Into Spanish."""


def heard(
    probabilities: Mapping[str, float],
    before: str | None = None,
    heard_before: str | None = None,
    duration_s: float = 4.0,
) -> Settled | None:
    return settled(probabilities, duration_s, before, heard_before, DUBBED.__contains__)


def spoken(*phrases: tuple[float, Mapping[str, float]], before: str | None = None) -> list[str]:
    """What each of a row of phrases (seconds, probabilities) is heard as, each answer being the next one's context."""
    languages, last = [], Settled(before) if before else None
    for duration_s, probabilities in phrases:
        last = heard(probabilities, last and last.language, last and last.heard_language, duration_s)
        assert last is not None
        languages.append(last.language)
    return languages


ENGLISH, FRENCH = {"en": 0.95, "fr": 0.03}, {"fr": 0.95, "en": 0.03}
CERTAIN_FRENCH = {"fr": 0.995, "en": 0.001}
PERHAPS_FRENCH = {"fr": 0.6, "en": 0.3}


def test_the_first_phrase_is_heard_as_the_most_probable_that_can_be_dubbed() -> None:
    assert heard({"fr": 0.5, "en": 0.3}) == Settled("fr")
    assert heard({"gl": 0.5, "it": 0.2, "en": 0.1, "fr": 0.05}) == Settled("en")


def test_one_odd_phrase_does_not_change_the_language_and_two_do() -> None:
    assert spoken((4, ENGLISH), (4, FRENCH), (4, ENGLISH)) == ["en", "en", "en"]
    assert spoken((4, ENGLISH), (4, FRENCH), (4, FRENCH), (4, FRENCH)) == ["en", "en", "fr", "fr"]
    assert spoken((4, ENGLISH), (4, FRENCH), (4, ENGLISH), (4, FRENCH), (4, ENGLISH)) == ["en"] * 5


def test_two_phrases_in_two_other_languages_do_not() -> None:
    german = {"de": 0.95, "en": 0.03}
    assert spoken((4, ENGLISH), (4, FRENCH), (4, german), (4, FRENCH), (4, german)) == ["en"] * 5


def test_short_and_unclear_phrases_never_change_it() -> None:
    assert spoken((4, ENGLISH), *[(1.5, FRENCH)] * 5) == ["en"] * 6
    assert spoken((4, ENGLISH), *[(4, PERHAPS_FRENCH)] * 5) == ["en"] * 6
    assert spoken((4, ENGLISH), (1.5, CERTAIN_FRENCH), (2.5, ENGLISH)) == ["en"] * 3


def test_an_unclear_phrase_between_two_clear_ones_does_not_count() -> None:
    assert spoken((4, ENGLISH), (4, FRENCH), (1, ENGLISH | {"fr": 0.96}), (4, FRENCH)) == ["en", "en", "en", "fr"]


def test_what_is_beyond_doubt_changes_it_at_once() -> None:
    assert spoken((4, ENGLISH), (4, CERTAIN_FRENCH)) == ["en", "fr"]
    assert spoken((4, ENGLISH), (2.9, CERTAIN_FRENCH)) == ["en", "en"]
    assert spoken((4, ENGLISH), (4, {"fr": 0.97, "en": 0.02})) == ["en", "en"]


def test_what_cannot_be_dubbed_is_told_only_when_it_is_beyond_doubt() -> None:
    assert heard({"es": 0.999, "en": 0.0001}, before="en") == Settled("es")
    assert heard({"es": 0.999, "en": 0.0001}) == Settled("es")
    assert heard({"es": 0.9, "en": 0.1}, before="en") == Settled("en")
    assert heard({"es": 0.999, "en": 0.0001}, before="en", duration_s=1) == Settled("en")


def test_a_language_that_cannot_be_dubbed_any_more_is_forgotten() -> None:
    assert heard(FRENCH, before="it") == Settled("fr")


def test_who_cannot_tell_changes_nothing() -> None:
    assert heard({}, before="en", heard_before="fr") == Settled("en")
    assert heard({}) is None
    assert heard({"gl": 0.4, "it": 0.2}) is None


shares = st.dictionaries(st.sampled_from(["en", "fr", "de", "es", "gl"]), st.floats(0, 1), max_size=5)


@given(shares, st.sampled_from([None, *sorted(DUBBED)]), st.sampled_from([None, "fr", "es"]), st.floats(0, 30))
def test_what_is_settled_can_be_dubbed_or_is_beyond_doubt(
    probabilities: dict[str, float], before: str | None, heard_before: str | None, duration_s: float
) -> None:
    found = heard(probabilities, before, heard_before, duration_s)
    if found is None:
        assert before is None and not DUBBED & set(probabilities)
    elif found.language not in DUBBED:
        assert probabilities[found.language] >= 0.97 and duration_s >= 3
    elif duration_s < 2 and before is not None:
        assert found.language == before
