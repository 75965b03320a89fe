"""Languages that are detected, and speech that is heard as English, through the whole pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from dubrelay.config import Paths, Term
from dubrelay.errors import ConfigError, StsError
from dubrelay.sts.asr.base import Detection, Transcript
from dubrelay.sts.chain import AsrChain
from dubrelay.sts.engines import load
from dubrelay.sts.mt.to_english import ToEnglish
from dubrelay.sts.pipeline import Pipeline
from dubrelay.sts.route import Engines
from dubrelay.wire.fragment import Context, ProcessRequest, ProcessResult
from sts_parts import TinyAsr, TinyTranslator, TinyTts, buzz, mock_settings, request_for, service, tiny_sts
from tiny_whisper import whisper

pytestmark = pytest.mark.unit

Mono = npt.NDArray[np.float32]


class TinyLinguist(TinyAsr):
    """Finds the languages that it is told, one phrase each; the last one stays."""

    name = "tiny-linguist"
    detects = True

    def __init__(self, *found: dict[str, float], languages: tuple[str, ...] = ("en", "fr", "es"), text: str = "hm"):
        super().__init__(text, languages=languages)
        self.found = list(found)
        self.heard_as: list[str] = []

    @property
    def to_english(self) -> frozenset[str]:
        return self.languages - {"en"}

    def transcribe(self, samples: Mono, language: str) -> Transcript:
        self.heard_as.append(language)
        return super().transcribe(samples, language)

    def translate(self, samples: Mono, language: str) -> Transcript:
        self.heard_as.append(f"{language} as English")
        return super().transcribe(samples, language)

    def detect(self, samples: Mono) -> Detection:
        found = self.found.pop(0) if len(self.found) > 1 else self.found[0]
        return Detection(found, lambda language, english: self._hear(samples, language, english))

    def _hear(self, samples: Mono, language: str, in_english: bool) -> Transcript:
        return self.translate(samples, language) if in_english else self.transcribe(samples, language)


TO_SPANISH = TinyTranslator(pairs=(("en", "es"), ("fr", "es")))
ENGLISH, FRENCH = {"en": 0.95, "fr": 0.03}, {"fr": 0.95, "en": 0.03}


def engines(*asr: TinyAsr, mt: Any = TO_SPANISH, tts: Any = None) -> Engines:
    return Engines(tuple(asr), (mt,), (tts or TinyTts(languages=("es", "en")),))


def in_a_row(loaded: Engines, count: int, source: str = "auto", target: str = "es") -> list[ProcessResult]:
    """Phrases one after the other, as a worker sends them: with what the last answer said."""
    context, answers = Context(), []
    with closing(Pipeline(loaded, tiny_sts())) as pipeline:
        for _ in range(count):
            answers.append(pipeline.process(request_for(buzz(2.5), source=source, target=target, context=context)))
            meta = answers[-1].metadata
            context = context.in_language(meta.source_language, meta.heard_language)
    return answers


def test_the_language_is_detected_and_told() -> None:
    linguist = TinyLinguist(FRENCH)
    (answer,) = in_a_row(engines(linguist), 1)
    assert answer.metadata.source_language == "fr"
    assert linguist.heard_as == ["fr"]


def test_a_given_language_is_told_too_and_nothing_is_detected() -> None:
    linguist = TinyLinguist(FRENCH)
    (answer,) = in_a_row(engines(linguist), 1, source="en")
    assert (answer.metadata.source_language, answer.metadata.heard_language) == ("en", None)
    assert linguist.heard_as == ["en"]


def test_the_language_changes_with_the_second_phrase_that_is_clear() -> None:
    linguist = TinyLinguist(ENGLISH, FRENCH, ENGLISH, FRENCH, FRENCH)
    answers = in_a_row(engines(linguist), 5)
    assert linguist.heard_as == ["en", "en", "en", "en", "fr"]
    assert [answer.metadata.source_language for answer in answers] == linguist.heard_as
    assert [answer.metadata.heard_language for answer in answers] == [None, "fr", None, "fr", None]


def test_the_engine_that_is_first_for_the_language_hears_it() -> None:
    english, linguist = TinyAsr(), TinyLinguist(ENGLISH, FRENCH, FRENCH)
    answers = in_a_row(engines(english, linguist), 3)
    assert [answer.metadata.asr_model for answer in answers] == ["tiny-asr", "tiny-asr", "tiny-linguist"]


def test_nothing_is_settled_by_a_first_phrase_without_words() -> None:
    silent = TinyLinguist(FRENCH, ENGLISH, text="")
    answers = in_a_row(engines(silent), 2)
    assert [answer.metadata.source_language for answer in answers] == ["", ""]
    assert silent.heard_as == ["fr", "en"]


def test_what_is_spoken_and_cannot_be_dubbed_says_so() -> None:
    loaded = engines(TinyLinguist({"es": 0.999, "en": 0.001}))
    with closing(Pipeline(loaded, tiny_sts())) as pipeline, pytest.raises(StsError) as caught:
        pipeline.process(request_for(buzz(4.0), source="auto"))
    assert (caught.value.code, caught.value.stage) == ("UNSUPPORTED_LANGUAGE", "mt")
    assert caught.value.message.startswith("what is spoken is es: es to es needs an engine in sts.mt that translates")


@pytest.mark.parametrize(
    ("loaded", "target", "says"),
    [
        (engines(TinyAsr()), "es", "'auto' needs an engine in sts.asr that tells languages apart"),
        (engines(TinyLinguist(ENGLISH)), "ca", "nothing can be dubbed to ca; possible here: en to es, fr to es"),
        (engines(TinyLinguist({})), "es", "cannot tell the language"),
    ],
)
def test_what_cannot_be_detected_is_refused(loaded: Engines, target: str, says: str) -> None:
    with pytest.raises(StsError, match=says):
        in_a_row(loaded, 1, target=target)


def test_a_chain_detects_with_the_first_that_can() -> None:
    linguist = TinyLinguist(FRENCH)
    chain: Any = AsrChain("both", [TinyAsr(), linguist])
    (answer,) = in_a_row(engines(chain), 1)
    assert (answer.metadata.source_language, linguist.heard_as) == ("fr", ["fr"])
    assert not AsrChain("deaf", [TinyAsr()]).detects


def to_english() -> ToEnglish:
    return ToEnglish("whisper-to-english", Any, Any, Any)  # type: ignore[arg-type]


def test_speech_is_heard_as_english_without_a_translator() -> None:
    linguist = TinyLinguist({"es": 0.9}, text="the train leaves")
    (answer,) = in_a_row(engines(TinyAsr(), linguist, mt=to_english()), 1, source="fr", target="en")
    assert linguist.heard_as == ["fr as English"]
    assert (answer.transcript, answer.translated_text) == ("", "the train leaves")
    assert (answer.metadata.asr_model, answer.metadata.translation_model) == ("tiny-linguist", "whisper-to-english")
    (answer,) = in_a_row(engines(linguist, mt=to_english()), 1, source="auto", target="en")
    assert linguist.heard_as[-1] == "es as English"


def test_only_recognisers_that_can_are_asked_to_translate() -> None:
    deaf, linguist = TinyAsr(languages=("en", "fr")), TinyLinguist({}, languages=("en", "es"))
    loaded = engines(deaf, linguist, mt=to_english())
    assert loaded.pairs() == {("es", "en")}
    with pytest.raises(StsError) as caught:
        loaded.route("fr", "en", "default")
    assert caught.value.message == (
        "fr to en needs an engine in sts.asr that hears fr as English (now: tiny-asr, tiny-linguist); "
        "possible here: es to en"
    )
    with pytest.raises(StsError, match=r"sts\.mt that translates en to en"):
        loaded.route("en", "en", "default")


def test_english_is_not_dubbed_to_english_whatever_the_recogniser_knows() -> None:
    linguist = TinyLinguist({"en": 0.85, "fr": 0.1}, languages=("*",))
    loaded = engines(linguist, mt=to_english())
    assert (loaded.can_dub("fr", "en"), loaded.can_dub("en", "en")) == (True, False)
    in_a_row(loaded, 1, target="en")
    assert linguist.heard_as == ["fr as English"]


def test_a_translator_before_it_is_preferred_for_what_it_can() -> None:
    linguist = TinyLinguist({})
    loaded = Engines((linguist,), (TinyTranslator(pairs=(("es", "en"),)), to_english()), (TinyTts(languages=("en",)),))
    assert loaded.route("es", "en", "default").mt.name == "tiny-mt"
    assert loaded.route("fr", "en", "default").mt.name == "whisper-to-english"
    assert loaded.pairs() == {("es", "en"), ("fr", "en")}


def test_a_glossary_that_cannot_be_used_is_noted() -> None:
    request = request_for(buzz(2.0), source="fr", target="en")
    request = request.model_copy(update={"config": request.config.model_copy(update={"glossary": (Term(source="x"),)})})
    with closing(Pipeline(engines(TinyLinguist({}), mt=to_english()), tiny_sts())) as pipeline:
        answer = pipeline.process(request)
    assert answer.metadata.notes == [
        "no transcript: whisper-to-english never knows what was said",
        "glossary: not used without a transcript",
    ]


def test_it_cannot_be_part_of_a_chain() -> None:
    own = {"both": {"kind": "chain", "engines": ["mock", "whisper-to-english"]}}
    with pytest.raises(ConfigError, match="'whisper-to-english': what the recogniser does cannot be part of a chain"):
        load(tiny_sts(mt=["both"], engines=own), Paths())


@pytest.mark.parametrize(
    ("lists", "says"),
    [
        (
            {"asr": [("en",)], "mt": (("en", "es"), ("es", "en")), "tts": ("en",)},
            "heard: en; translated: en-es, es-en; spoken: en; "
            "en to es needs an engine in sts.tts that speaks es (now: tiny-tts); "
            "es to en needs an engine in sts.asr that understands es (now: tiny-asr)",
        ),
        (
            {"asr": [("de",)], "mt": (("en", "es"),), "tts": ("es",)},
            "heard: de; translated: en-es; spoken: es; en to es needs an engine in sts.asr that understands en",
        ),
    ],
)
def test_engines_that_can_dub_nothing_together_say_what_would_make_it_possible(
    lists: dict[str, Sequence[Any]], says: str
) -> None:
    loaded = Engines(
        tuple(TinyAsr(languages=languages) for languages in lists["asr"]),
        (TinyTranslator(pairs=tuple(lists["mt"])),),
        (TinyTts(languages=tuple(lists["tts"])),),
    )
    with pytest.raises(ConfigError) as caught:
        loaded.require_a_pair()
    assert says in caught.value.message


def test_the_service_does_not_start_with_such_engines(tmp_path: Path) -> None:
    own = {
        "ears": {"kind": "whisper", "model": str(whisper(tmp_path)), "languages": ["de"]},
        "robot": {"kind": "mock", "languages": ["es"]},
    }
    with pytest.raises(ConfigError, match=r"together: heard: de; .*; de to en needs an engine in sts\.tts that"):
        load(tiny_sts(asr=["ears"], mt=["whisper-to-english"], tts=["robot"], engines=own), Paths())


def test_a_running_service_detects_and_tells(tmp_path: Path) -> None:
    own = {"ears": {"kind": "whisper", "model": str(whisper(tmp_path, ("Guten", "Abend"), detects="de"))}}
    with service(mock_settings(asr=["ears"], engines=own)) as running:
        request = request_for(buzz(2.5), source="auto", target="es", context=Context(source_language="de"))
        answer = running.post(request).json()
        assert (answer["status"], answer["transcript"]) == ("success", "Guten Abend")
        assert answer["metadata"]["source_language"] == "de"
        named = running.post(request_for(buzz(2.5), source="en")).json()
        assert named["metadata"]["source_language"] == "en"
        shown = {(pair["source"], pair["target"]) for pair in running.client.get("/health").json()["pairs"]}
        assert shown == {("de", "*"), ("en", "*"), ("es", "*")}
        body = request.model_dump()
        body["config"]["source_language"] = "automatic"
        refused = running.post(body)
    assert refused.status_code == 400
    assert "config.source_language = 'automatic'" in refused.json()["error"]["message"]


def test_a_request_without_the_new_fields_is_as_good_as_before() -> None:
    body = request_for(buzz(1.0)).model_dump(exclude_none=True)
    assert set(body["context"]) == {"transcript", "translated_text"}
    assert ProcessRequest.model_validate(body).context.source_language is None
