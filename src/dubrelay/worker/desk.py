"""What the operator has set for a stream, at its start and since: how it is dubbed now. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from dubrelay import config
from dubrelay.wire.control import Control
from dubrelay.wire.fragment import Languages
from dubrelay.wire.worker import WorkerSettings


@dataclass(frozen=True)
class Desk:
    programme: config.Programme
    mix: config.Mix
    fallback: config.Fallback
    languages: Languages
    """With voice and glossary: what each phrase is sent with."""

    @classmethod
    def at_start(cls, settings: WorkerSettings) -> Desk:
        dub = settings.dub
        languages = Languages(
            source_language=dub.source_language,
            target_language=dub.target_language,
            voice_profile=dub.voice,
            glossary=settings.glossary,
        )
        return cls(settings.programme, settings.mix, dub.fallback, languages)

    def after(self, control: Control) -> Desk:
        """A line's values were checked when it was read."""
        languages = control.named("source_language", "target_language", "glossary")
        if control.voice is not None:
            languages["voice_profile"] = control.voice
        return replace(
            self,
            mix=self.mix.model_copy(update=control.named("floor_gain_db", "original_gain_db")),
            languages=self.languages.model_copy(update=languages),
            **control.named("programme", "fallback"),  # type: ignore[arg-type]
        )

    @property
    def detects(self) -> bool:
        """Whether the service is to find out what is spoken."""
        return self.languages.source_language == config.AUTO

    def speaks_as(self, other: Desk) -> bool:
        """Whether what was said before is context for what is said now."""
        ours, theirs = self.languages, other.languages
        return (ours.source_language, ours.target_language) == (theirs.source_language, theirs.target_language)
