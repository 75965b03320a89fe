"""A chat model behind an OpenAI-compatible API (vLLM, Ollama, llama.cpp, a vendor) as a translator."""

from __future__ import annotations

from dubrelay.config import OpenAiChatEngine, Paths, Sts
from dubrelay.errors import StsError
from dubrelay.sts.mt.base import NO_WISH, Wish
from dubrelay.sts.mt.prompt import answered, messages
from dubrelay.sts.openai import OpenAi


class Chat:
    """Which languages a model knows it does not say: all, unless the options name those it is to translate to."""

    licence = "the model's own"
    concurrency = 4
    pairs = frozenset({("*", "*")})
    shortens = True
    knows_context = True
    knows_glossary = True
    device = "remote"

    def __init__(self, name: str, options: OpenAiChatEngine, settings: Sts, paths: Paths) -> None:
        self.name = name
        self._model, self._max_tokens = options.model, options.max_tokens
        self._api = OpenAi(name, "mt", options)

    @classmethod
    def missing(cls, options: OpenAiChatEngine, paths: Paths) -> str:
        return ""

    def translate(self, text: str, source: str, target: str, wish: Wish = NO_WISH) -> str:
        if not text.strip():
            return ""
        body = {
            "model": self._model,
            "messages": messages(text, source, target, wish),
            "temperature": 0,
            "max_tokens": self._max_tokens,
        }
        answer = self._api.post_json("chat/completions", body)
        content = self._api.text_at(answer, "choices", 0, "message", "content")
        if answer["choices"][0].get("finish_reason") == "length":
            raise self._refused(f"the answer was cut off at max_tokens = {self._max_tokens}")
        translation, doubt = answered(content, text, source, target)
        if doubt:
            raise self._refused(doubt)
        return translation

    def close(self) -> None:
        self._api.close()

    def _refused(self, why: str) -> StsError:
        return StsError("MODEL_ERROR", f"{self.name}: no translation: {why}", stage="mt")
