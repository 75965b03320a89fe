from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest

from dubrelay.config import Paths
from dubrelay.errors import ConfigError, StsError
from dubrelay.sts.asr.base import Transcript
from dubrelay.sts.chain import AsrChain, TranslatorChain, TtsChain
from dubrelay.sts.engines import load
from sts_parts import TinyAsr, TinyTranslator, TinyTts, tiny_sts

pytestmark = pytest.mark.unit

SILENCE = np.zeros(16_000, np.float32)


def broken(*_: object) -> None:
    raise StsError("MODEL_ERROR", "no answer", retryable=True)


def test_the_next_recogniser_hears_what_the_first_one_fails_at() -> None:
    chain = AsrChain("ears", [TinyAsr(cost=broken), TinyAsr("second")])
    assert chain.transcribe(SILENCE, "en") == Transcript("second")


def test_terms_are_told_to_those_that_take_them() -> None:
    class Told(TinyAsr):
        takes_terms = True

        def transcribe(self, samples: npt.NDArray[np.float32], language: str, terms: Sequence[str] = ()) -> Transcript:
            return Transcript(", ".join(terms))

    plain = AsrChain("ears", [TinyAsr("second"), Told()])
    assert plain.transcribe(SILENCE, "en", ["Gomez"]).text == "second"
    told = AsrChain("ears", [TinyAsr(cost=broken), Told()])
    assert told.transcribe(SILENCE, "en", ["Gomez"]).text == "Gomez"


def test_an_engine_that_does_not_know_the_language_is_passed_over() -> None:
    chain = AsrChain("ears", [TinyAsr("english"), TinyAsr("spanish", languages=("es",))])
    assert chain.languages == {"en", "es"}
    assert chain.transcribe(SILENCE, "es").text == "spanish"


def test_what_the_last_one_raised_is_raised_when_all_fail() -> None:
    chain = TranslatorChain("tongues", [TinyTranslator(cost=broken), TinyTranslator(cost=broken)])
    with pytest.raises(StsError, match="no answer"):
        chain.translate("hello", "en", "es")


def test_the_next_translator_answers() -> None:
    chain = TranslatorChain("tongues", [TinyTranslator("uno", cost=broken), TinyTranslator("dos")])
    assert chain.pairs == {("en", "es")}
    assert chain.translate("hello", "en", "es") == "dos"


def test_the_next_voice_says_what_the_first_one_could_not() -> None:
    chain = TtsChain("mouths", [TinyTts("first", cost=broken), TinyTts("second", voices=("eva",))])
    assert chain.voices("es") == ("ana", "luis", "eva")
    prepared = chain.prepare("hola", "es", "ana")
    assert prepared.voice == "ana"
    assert len(chain.speak(prepared, 1.0).samples)


def test_a_voice_is_asked_of_the_engine_that_has_it() -> None:
    chain = TtsChain("mouths", [TinyTts("first"), TinyTts("second", voices=("eva",))])
    assert chain.prepare("hola", "es", "eva").voice == "eva"


def test_a_chain_is_made_of_engines_that_there_are() -> None:
    own = {"both": {"kind": "chain", "engines": ["mock", "whisper-base"]}}
    engines = load(tiny_sts(asr=["both"], engines={"both": {"kind": "chain", "engines": ["mock"]}}), Paths())
    assert engines.asr[0].name == "both"
    assert engines.asr[0].languages == {"*"}
    with pytest.raises(ConfigError, match=r"sts.engines.both.engines = 'whisper-base': there is no such engine"):
        load(tiny_sts(mt=["both"], engines=own), Paths())
