"""What a worker is told on stdin: one JSON document, all settings of its stream, already checked."""

from __future__ import annotations

import json

from pydantic import BaseModel, ConfigDict

from dubrelay.config import Cut, Dub, Log, Mix, Paths, StsClient, Worker
from dubrelay.wire.fragment import StreamId


class WorkerSettings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    stream_id: StreamId
    run_id: str
    input_url: str
    output_url: str
    log: Log = Log()
    paths: Paths = Paths()
    worker: Worker = Worker()
    dub: Dub = Dub()
    cut: Cut = Cut()
    mix: Mix = Mix()
    sts_client: StsClient = StsClient()

    def to_json(self) -> str:
        """With secrets in the clear: for a pipe to the worker, never for a file or a log."""
        values = self.model_dump(mode="json")
        values["sts_client"]["key"] = self.sts_client.key.get_secret_value()
        return json.dumps(values)
