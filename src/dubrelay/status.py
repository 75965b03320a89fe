"""`dubrelay status`: what the orchestrator says of its streams, as a table that is kept up to date."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from statistics import median
from typing import TypeVar
from urllib.parse import quote

import httpx2
from pydantic import ValidationError
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from dubrelay.errors import ConfigError, MediaError
from dubrelay.wire.status import PhraseReport
from dubrelay.wire.streams import STREAMS_PATH, StreamDetails, StreamList

EVERY_S = 1.0
_TIMEOUT_S = 5.0
T = TypeVar("T", StreamList, StreamDetails)
_STYLES = {"running": "green", "degraded": "bold red", "refused": "bold red", "idle": "dim"}
_FAR_OFF_MS = 40.0
"""Sound against picture: more is shown in red."""


class Orchestrator:
    """Asks one orchestrator. Every problem is a DubrelayError of one line."""

    def __init__(self, url: str, token: str = "") -> None:
        self.url = url
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._client = httpx2.Client(base_url=url, headers=headers, timeout=_TIMEOUT_S, trust_env=False)

    def __enter__(self) -> Orchestrator:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def streams(self) -> list[StreamDetails]:
        """All streams with their latest phrases, by id. ConfigError where the token is wrong, MediaError otherwise."""
        found = []
        listed = _parsed(StreamList, self._get(STREAMS_PATH), self.url)
        for stream in listed.streams:
            answer = self._get(f"{STREAMS_PATH}/{quote(stream.stream_id, safe='')}")
            if answer.status_code != httpx2.codes.NOT_FOUND:  # it has gone meanwhile
                found.append(_parsed(StreamDetails, answer, self.url))
        return found

    def _get(self, path: str) -> httpx2.Response:
        try:
            answer = self._client.get(path)
        except (httpx2.HTTPError, httpx2.InvalidURL) as e:
            raise MediaError(f"no orchestrator answers at {self.url}: {e or type(e).__name__}") from e
        if answer.status_code in (httpx2.codes.UNAUTHORIZED, httpx2.codes.FORBIDDEN):
            raise ConfigError(
                f"orchestrator.api_token: {self.url} wants another one ({answer.status_code}): "
                "`dubrelay keys new NAME --role viewer` makes one"
            )
        if answer.status_code not in (httpx2.codes.OK, httpx2.codes.NOT_FOUND):
            raise MediaError(f"{self.url}{path} answers {answer.status_code}")
        return answer


def _parsed(kind: type[T], answer: httpx2.Response, url: str) -> T:
    try:
        return kind.model_validate_json(answer.content)
    except ValidationError as e:
        raise MediaError(f"what answers at {url} is no orchestrator of this version") from e


def as_json(streams: Sequence[StreamDetails]) -> str:
    """One line: `{"streams": [...]}`, each as GET /v1/streams/{streamId} has it."""
    return '{"streams":[' + ",".join(stream.model_dump_json(by_alias=True) for stream in streams) + "]}"


def table(streams: Sequence[StreamDetails]) -> Table:
    named = ("stream", "state", "delay", "A/V", "on time", "margin", "fallbacks", "CPU", "memory")
    made = Table(*named, *(["destinations"] if any(stream.destinations for stream in streams) else []))
    for stream in streams:
        # A cell more than there are columns would make a column without a name.
        made.add_row(*[*_row(stream), _destinations(stream)][: len(made.columns)])
    if not streams:
        made.add_row("[dim]no streams[/dim]")
    return made


def follow(orchestrator: Orchestrator, console: Console) -> None:
    """Until Ctrl-C. An orchestrator that goes away meanwhile is said so, and asked again."""
    streams = orchestrator.streams()
    with Live(table(streams), console=console, auto_refresh=False) as live:
        while True:
            time.sleep(EVERY_S)
            try:
                live.update(table(orchestrator.streams()), refresh=True)
            except MediaError as e:
                live.update(Text(e.message, "bold red"), refresh=True)


def _row(stream: StreamDetails) -> list[str | Text]:
    phrases = [view.phrase for view in stream.phrases]
    worker = stream.worker
    return [
        escape(stream.stream_id),
        _state(stream),
        _seconds(stream.delay_ms),
        _av_sync(stream.av_sync_ms),
        _on_time(phrases),
        _margin(phrases),
        _fallbacks(phrases),
        "" if worker is None or worker.cpu_percent is None else f"{worker.cpu_percent:.0f} %",
        "" if worker is None or worker.rss_bytes is None else f"{worker.rss_bytes / 1e6:.0f} MB",
    ]


def _destinations(stream: StreamDetails) -> Text:
    """One line each: its name, how it is, and what went wrong last where it is not well."""
    said = Text()
    for destination in stream.destinations:
        well = destination.state == "forwarding"
        rate = "" if destination.bitrate_kbps is None else f" {destination.bitrate_kbps / 1000:.1f} Mbit/s"
        said.append(f"{destination.name} ").append(destination.state or "-", "green" if well else "bold red")
        said.append(f"{rate}\n" if well else f" {destination.last_error}\n")
    said.rstrip()
    return said


def _state(stream: StreamDetails) -> Text:
    said = Text(stream.state, _STYLES.get(stream.state, "yellow"))
    restarts = f"{stream.restarts} restarts" if stream.restarts else ""
    for more in filter(None, (stream.message, restarts)):
        said.append(f"\n{more}", "dim")
    return said


def _seconds(ms: float | None) -> str:
    return "" if ms is None else f"{ms / 1000:.1f} s"


def _av_sync(ms: float | None) -> Text:
    return Text() if ms is None else Text(f"{ms:+.1f} ms", "bold red" if abs(ms) > _FAR_OFF_MS else "")


def _on_time(phrases: Sequence[PhraseReport]) -> str:
    """Of the latest phrases with words in them."""
    spoken = [phrase for phrase in phrases if phrase.status != "no_speech"]
    dubbed = sum(phrase.status == "dubbed" for phrase in spoken)
    return f"{dubbed}/{len(spoken)}" if spoken else ""


def _margin(phrases: Sequence[PhraseReport]) -> str:
    """Time that was left when the answer came: the middle one, and the least."""
    margins = [phrase.margin_ms / 1000 for phrase in phrases if phrase.margin_ms is not None]
    return f"{median(margins):.1f} s, least {min(margins):.1f}" if margins else ""


def _fallbacks(phrases: Sequence[PhraseReport]) -> str:
    """By reason, the most frequent first."""
    reasons = Counter(phrase.reason or "?" for phrase in phrases if phrase.status == "fallback")
    return ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
