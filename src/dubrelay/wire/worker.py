"""What a worker is told on stdin: one JSON document, all settings of its stream, already checked."""

from __future__ import annotations

import json
from typing import Annotated, Self, cast

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from dubrelay.config import (
    NOTHING_SET,
    Cut,
    Dub,
    Glossary,
    InputProtocol,
    Log,
    Mix,
    Paths,
    Programme,
    Settings,
    StreamConfig,
    StreamId,
    StsClient,
    Trace,
    Worker,
    validated,
)


class WorkerSettings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    stream_id: StreamId
    run_id: str
    input_url: Annotated[str, Field(pattern=r"^(rtmp|rtsp|srt)://")]
    output_url: str
    languages_url: str = ""
    """Where both sounds are published, in dub mode; empty: nowhere."""
    internal_secret: SecretStr = SecretStr("")
    """What in the URLs must never be said."""
    log: Log = Log()
    paths: Paths = Paths()
    worker: Worker = Worker()
    programme: Programme = "dub"
    """What goes out from the start; in bypass mode dub is bypass."""
    glossary: Glossary = ()
    dub: Dub = Dub()
    cut: Cut = Cut()
    mix: Mix = Mix()
    trace: Trace = Trace()
    sts_client: StsClient = StsClient()

    @property
    def input_protocol(self) -> InputProtocol:
        return cast("InputProtocol", self.input_url.partition(":")[0])

    @classmethod
    def for_stream(
        cls,
        settings: Settings,
        stream_id: str,
        run_id: str,
        protocol: InputProtocol,
        stream: StreamConfig = NOTHING_SET,
    ) -> Self:
        """What `settings`, and `stream` over them, say for one stream of the MediaMTX in them. ConfigError when the id
        is none.
        """
        settings = settings.for_stream(stream)
        secret = settings.orchestrator.internal_secret.get_secret_value()
        values = {
            "stream_id": stream_id,
            "run_id": run_id,
            "internal_secret": secret,
            "input_url": settings.mediamtx.input_url(stream_id, protocol, secret),
            "output_url": settings.mediamtx.output_url(stream_id, secret),
            "languages_url": settings.mediamtx.languages_url(stream_id, secret) if settings.out.keep_original else "",
            "programme": stream.programme or "dub",
            "glossary": stream.glossary or (),
            **{name: getattr(settings, name) for name in cls.model_fields if name in Settings.model_fields},
        }
        return validated(cls, values, "worker")

    def to_json(self) -> str:
        """With secrets in the clear: for a pipe to the worker, never for a file or a log."""
        values = self.model_dump(mode="json")
        values["sts_client"]["key"] = self.sts_client.key.get_secret_value()
        values["internal_secret"] = self.internal_secret.get_secret_value()
        return json.dumps(values)
