"""Whether the STS services that phrases go to are there: each one's /health, now and then."""

from __future__ import annotations

import asyncio

import httpx2

from dubrelay.config import StsClient
from dubrelay.trust import verification

LOOK_S = 10.0
ANSWER_S = 3.0


class Services:
    """`run` looks until it is cancelled. ConfigError when the CAs that are to be trusted cannot be read."""

    def __init__(self, settings: StsClient) -> None:
        self.problems = dict.fromkeys(settings.urls, "")
        """Service -> why it is not there; empty: it is, or was not asked yet."""
        self._client = httpx2.AsyncClient(verify=verification(settings.ca_file), trust_env=False, timeout=ANSWER_S)

    async def run(self) -> None:
        async with self._client:
            while True:
                await asyncio.gather(*(self._look(url) for url in self.problems))
                await asyncio.sleep(LOOK_S)

    async def _look(self, url: str) -> None:
        try:
            async with (
                asyncio.timeout(ANSWER_S),
                self._client.stream("GET", url.rstrip("/") + "/health") as answer,
            ):
                well = answer.status_code == httpx2.codes.OK
                self.problems[url] = "" if well else f"/health says {answer.status_code}"
        except (httpx2.TimeoutException, TimeoutError):
            self.problems[url] = f"it does not answer within {ANSWER_S:g} s"
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError):
            self.problems[url] = "it cannot be reached"
