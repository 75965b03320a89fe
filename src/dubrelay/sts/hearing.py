"""What was said in a phrase, in the language it was said in or is believed to be in."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dubrelay.config import AUTO
from dubrelay.errors import StsError
from dubrelay.sts.asr.base import Linguist, Transcript, to_english, told
from dubrelay.sts.language import settled
from dubrelay.sts.phrase import Phrase
from dubrelay.sts.route import Engines, Route, can, while_hearing
from dubrelay.wire.fragment import ProcessRequest


def route_for(request: ProcessRequest, engines: Engines) -> tuple[Route, str]:
    """The route of a phrase and its source language, where that is to be detected as far as it is known before.

    StsError UNSUPPORTED_LANGUAGE when there is none.
    """
    config = request.config
    if config.source_language == AUTO:
        before = request.context.source_language
        return engines.route_before_hearing(config.target_language, config.voice_profile, before)
    return engines.route(config.source_language, config.target_language, config.voice_profile), config.source_language


def heard(phrase: Phrase, samples: npt.NDArray[np.float32], engines: Engines) -> Transcript:
    """`samples`: (n,) mono at 16 kHz. Where the language is detected, the phrase gets its route and language here."""
    if phrase.request.config.source_language == AUTO:
        return _detected(phrase, samples, engines)
    return _heard(phrase, samples)


def _detected(phrase: Phrase, samples: npt.NDArray[np.float32], engines: Engines) -> Transcript:
    linguist = engines.linguist()
    assert linguist is not None  # route_before_hearing
    detection = linguist.detect(samples)
    config, context = phrase.request.config, phrase.request.context
    found = settled(
        detection.probabilities,
        len(phrase.original.samples) / phrase.original.rate_hz,
        context.source_language,
        context.heard_language,
        lambda source: engines.can_dub(source, config.target_language),
    )
    if found is None:
        raise StsError("MODEL_ERROR", f"{linguist.name} cannot tell the language", stage="asr")
    try:
        phrase.route = engines.route(found.language, config.target_language, config.voice_profile)
    except StsError as e:
        raise StsError(e.code, f"what is spoken is {found.language}: {e.message}", stage=e.stage) from e
    phrase.source, phrase.heard_language = found.language, found.heard_language
    if phrase.route.asr is linguist:
        return detection.hear(phrase.source, while_hearing(phrase.route.mt))
    return _heard(phrase, samples)


def _heard(phrase: Phrase, samples: npt.NDArray[np.float32]) -> Transcript:
    asr = phrase.route.asr
    if not while_hearing(phrase.route.mt):
        return told(asr, phrase.terms)(samples, phrase.source)
    translating: Linguist = asr  # type: ignore[assignment]  # the route has no other one
    assert can(phrase.source, to_english(asr))
    return translating.translate(samples, phrase.source)
