"""For a worker that is run by hand: not beside the one that an orchestrator has for the same stream."""

from __future__ import annotations

import ssl
from contextlib import closing
from http.client import HTTPConnection, HTTPException, HTTPSConnection

from pydantic import ValidationError

from dubrelay.config import Orchestrator, Settings, StreamId
from dubrelay.errors import StartupError
from dubrelay.trust import that_certificate
from dubrelay.wire.streams import STREAMS_PATH, StreamDetails

_WAIT_S = 2.0


def refuse_second_worker(settings: Settings, stream_id: StreamId) -> None:
    """StartupError when the orchestrator of these settings is there and sees to the stream: MediaMTX lets each of two
    workers throw the other out of `out`.
    """
    found = _known(settings, stream_id)
    if found is not None and found.state != "idle":
        raise StartupError(
            f"the orchestrator at {settings.orchestrator.url} sees to stream {stream_id!r} ({found.state}): two "
            f"workers throw each other out of live/{stream_id}/out; stop the orchestrator first, or use another stream"
        )


def _known(settings: Settings, stream_id: StreamId) -> StreamDetails | None:
    """What an orchestrator says of the stream; None when there is none, it does not know it, or it does not tell us."""
    there = settings.orchestrator
    secret = there.internal_secret.get_secret_value() or there.api_token.get_secret_value()
    headers = {"Authorization": f"Bearer {secret}"} if secret else {}
    with closing(_connection(there)) as orchestrator:
        try:
            orchestrator.request("GET", f"{STREAMS_PATH}/{stream_id}", headers=headers)
            return StreamDetails.model_validate_json(orchestrator.getresponse().read())
        except (OSError, HTTPException, ValidationError):
            return None


def _connection(there: Orchestrator) -> HTTPConnection:
    if there.tls_cert is None:
        return HTTPConnection(there.host, there.port, timeout=_WAIT_S)
    context = that_certificate(there.tls_cert, "orchestrator.tls_cert")
    assert isinstance(context, ssl.SSLContext)
    return HTTPSConnection(there.host, there.port, timeout=_WAIT_S, context=context)
