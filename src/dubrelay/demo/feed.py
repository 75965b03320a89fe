"""What the orchestrator and MediaMTX say about the demo's stream."""

from __future__ import annotations

from dataclasses import dataclass, field

import httpx2
from pydantic import ValidationError

from dubrelay.config import INTERNAL_USER, Settings
from dubrelay.trust import that_certificate
from dubrelay.wire.status import PhraseReport
from dubrelay.wire.streams import STREAMS_PATH, StreamDetails

_TIMEOUT_S = 3.0


@dataclass(frozen=True)
class News:
    """Since the last look."""

    phrases: list[PhraseReport] = field(default_factory=list)
    message: str = ""
    """One line for people, when it changed."""
    delay_ms: float | None = None
    av_sync_ms: float | None = None


class Feed:
    """Asks when it is asked; who does not answer has no news. `settings` are those of the running stack."""

    def __init__(self, settings: Settings, stream_id: str) -> None:
        orchestrator = settings.orchestrator
        secret = orchestrator.internal_secret.get_secret_value()
        self._headers = {"Authorization": f"Bearer {secret}"}
        self._auth = (INTERNAL_USER, secret)
        self._verify = that_certificate(orchestrator.tls_cert, "orchestrator.tls_cert")
        self._stream_url = f"{settings.orchestrator.url}{STREAMS_PATH}/{stream_id}"
        self._output_url = f"{settings.mediamtx.api_url}/v3/paths/get/live/{stream_id}/out"
        self._after = 0
        self._message = ""

    def poll(self) -> News:
        try:
            answer = httpx2.get(
                self._stream_url,
                params={"after": self._after},
                headers=self._headers,
                verify=self._verify,
                timeout=_TIMEOUT_S,
                trust_env=False,
            )
            if answer.status_code != httpx2.codes.OK:
                return News()
            details = StreamDetails.model_validate_json(answer.content)
        except (httpx2.HTTPError, ValidationError) as e:
            return News(message=self._changed(f"the orchestrator does not answer: {e}"))
        if details.phrases:
            self._after = details.phrases[-1].sequence
        return News(
            phrases=[view.phrase for view in details.phrases],
            message=self._changed(details.message),
            delay_ms=details.delay_ms,
            av_sync_ms=details.av_sync_ms,
        )

    def _changed(self, message: str) -> str:
        before, self._message = self._message, message
        return message if message != before else ""

    def output_available(self) -> bool:
        """Whether MediaMTX has something to show on the stream's output."""
        try:
            answer = httpx2.get(self._output_url, auth=self._auth, timeout=_TIMEOUT_S, trust_env=False)
            return answer.status_code == httpx2.codes.OK and bool(answer.json().get("available"))
        except (httpx2.HTTPError, ValueError):
            return False
