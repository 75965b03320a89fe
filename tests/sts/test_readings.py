from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dubrelay.sts.mt.readings import chosen

pytestmark = pytest.mark.unit

THE = "^The/The<det><def><sp>$"
TRAIN = "^train/train<n><sg>/train<vblex><inf>/train<vblex><pres>$"
LEAVES = "^leaves/leaf<n><pl>/leave<vblex><pri><p3><sg>$"
SCORED = "^scored/scored<adj>/score<vblex><past>/score<vblex><pp>$"
TEAM = "^team/team<n><sg>$"
IS = "^is/be<vbser><pri><p3><sg>$"
ARE = "^are/be<vbser><pri><p2><sg>/be<vbser><pri><p1><pl>$"
WAS = "^was/be<vbser><past><p3><sg>/be<vbser><past><p1><sg>$"
IN = "^in/in<pr>$"
OF = "^of/of<pr>$"
MAY = "^May/May<np><loc><sg>$"
STOP = "^./.<sent>$"


def readings(analysed: str, surface: str) -> list[str]:
    found = re.search(rf"\^{re.escape(surface)}/([^$]*)\$", chosen(analysed))
    assert found
    return found[1].split("/")


def test_a_verb_follows_its_subject() -> None:
    assert readings(f"{THE} {TRAIN} {LEAVES} {IN} {MAY}{STOP}", "leaves") == ["leave<vblex><pri><p3><sg>"]
    assert readings(f"{THE} {TRAIN} {LEAVES} {IN} {MAY}{STOP}", "train") == ["train<n><sg>"]


@pytest.mark.parametrize(
    "rest",
    [
        f"{ARE} {IN} {MAY}{STOP}",  # the clause has another verb
        f"{OF} {MAY}{STOP}",
    ],
)
def test_a_plural_stays_one(rest: str) -> None:
    assert "leaf<n><pl>" in readings(f"{THE} {TRAIN} {LEAVES} {rest}", "leaves")


def test_a_noun_after_a_preposition_is_no_subject() -> None:
    assert "leaf<n><pl>" in readings(f"{IN} {THE} {TRAIN} {LEAVES}{STOP}", "leaves")


def test_the_only_verb_of_a_clause_is_past_and_no_participle() -> None:
    assert readings(f"{THE} {TEAM} {SCORED} {IN} {MAY}{STOP}", "scored") == ["score<vblex><past>"]


def test_a_participle_follows_its_auxiliary() -> None:
    assert "score<vblex><past>" not in readings(f"{THE} {TEAM} {WAS} {SCORED} {IN} {MAY}{STOP}", "scored")


def test_a_participle_stays_where_the_clause_has_a_verb() -> None:
    assert "score<vblex><pp>" in readings(f"{THE} {TEAM} {SCORED} {IN} {MAY} {IS} {THE} {TEAM}{STOP}", "scored")


def test_five_years_after_a_preposition() -> None:
    after = "^after/after<adv>/after<cnjadv>/after<pr>$"
    years = "^5/5<num>$ ^years/year<n><pl>$"
    assert readings(f"{after} {years}{STOP}", "after") == ["after<pr>"]
    assert len(readings(f"{after} {years} {WAS} {IN} {MAY}{STOP}", "after")) == 3


def test_an_unknown_word_with_a_capital_is_a_name() -> None:
    assert readings(f"^Brzka/*Brzka$ {IS} {IN} {MAY}{STOP}", "Brzka") == ["Brzka<np><loc><sg>"]
    assert readings(f"{THE} ^brzka/*brzka$ {IS} {IN} {MAY}{STOP}", "brzka") == ["*brzka"]


def test_a_surname_is_not_translated() -> None:
    helen = "^Helen/Helen<np><ant><f><sg>$"
    assert readings(f"{helen} ^Baker/Baker<n><sg>$ {IS}{STOP}", "Baker") == ["Baker<np><loc><sg>"]
    miller = "^Miller/Miller<n><sg>/Miller<np><cog><sg>$"
    assert readings(f"{helen} {miller} {IS}{STOP}", "Miller") == ["Miller<np><cog><sg>"]


@pytest.mark.parametrize("text", ["", "[]", ".[]", "\\^no word\\$", "^\\^/\\^<sent>$"])
def test_what_is_no_word_stays_as_it_is(text: str) -> None:
    assert chosen(text) == text


WORD = st.sampled_from([THE, TRAIN, LEAVES, SCORED, TEAM, IS, ARE, WAS, IN, OF, MAY, STOP, "^Zq/*Zq$", "^zq/*zq$"])


@given(st.lists(WORD, max_size=12))
def test_every_word_keeps_its_place_and_a_reading(words: list[str]) -> None:
    before, after = " ".join(words), chosen(" ".join(words))
    assert re.findall(r"\^([^/]+)/", after) == re.findall(r"\^([^/]+)/", before)
    for was, now in zip(words, after.split(" ") if words else [], strict=True):
        kept = now.strip("^$").split("/")[1:]
        assert kept
        assert set(kept) <= set(was.strip("^$").split("/")[1:]) or kept[0].endswith("<np><loc><sg>")
