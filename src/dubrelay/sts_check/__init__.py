"""`dubrelay sts-check`: whether a service keeps the contract of the STS API, clause by clause, over HTTP alone.

What is tried is any implementation: nothing of ours is asked but what `wire/` defines.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Literal

import httpx2
import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dubrelay.errors import ConfigError, StartupError
from dubrelay.sts_check import phrases, refusals, server
from dubrelay.sts_check.probe import ANSWER_S, Broken, NotTried, Probe
from dubrelay.sts_check.speech import Mono

VerdictWord = Literal["holds", "BROKEN", "not tried"]


@dataclass(frozen=True)
class Clause:
    name: str
    promise: str
    check: Callable[[Probe], str]
    """What was seen. Broken, or NotTried."""


@dataclass(frozen=True)
class Verdict:
    clause: str
    promise: str
    verdict: VerdictWord
    seen: str


FORMATS = ((8000, 1), (16_000, 2), (44_100, 1), (44_100, 2), (48_000, 1), (48_000, 2))

CLAUSES: tuple[Clause, ...] = (
    Clause("health before", "GET /health is 200 once the models are warm", server.health),
    Clause("success", "a phrase is dubbed, in the contract's shape", phrases.shape),
    Clause("fragment_id", "the answer has the request's fragment_id", phrases.fragment_ids),
    Clause("silence", "silence is no_speech: nothing is invented", phrases.silence),
    Clause("no audio", "0 ms of sound is no_speech or 400", phrases.nothing),
    Clause("30 s", "30 s of 48 kHz stereo are taken", phrases.longest),
    *(
        Clause(f"{rate} Hz, {channels} ch", "8000 to 48000 Hz, 1 or 2 channels", phrases.sound_of(rate, channels))
        for rate, channels in FORMATS
    ),
    Clause("max_duration_ms", "the dub fits, or overflow_ms tells by how much not", phrases.room),
    Clause("own room", "without max_duration_ms the room is the phrase's length", phrases.own_room),
    Clause("timeout_ms", "answered within it, or 504 TIMEOUT", phrases.timeout),
    Clause("context", "context is taken", phrases.context),
    Clause("glossary", "config.glossary is taken", phrases.glossary),
    Clause("again", "the same request gets the same answer", phrases.again),
    Clause("parallel", "requests at once get their own answers", phrases.parallel),
    Clause("unknown fields", "refused everywhere or ignored everywhere", refusals.unknown_fields),
    *(Clause(f"400 {name}", "400 INVALID_INPUT names the field", refusals.field(name)) for name in refusals.BAD_FIELDS),
    Clause("400 body", "a body that is no request is 400", refusals.bodies),
    Clause("413 declared", "too long a body is 413 before it is read", server.too_large_declared),
    Clause("413 chunked", "a body that grows too long is 413", server.too_large_chunked),
    Clause("422 language", "422 names the language and what is possible", refusals.language),
    Clause("422 voice", "422 names the voice", refusals.voice),
    Clause("401", "401 without the key, if there is one", refusals.key),
    Clause("methods", "405 and 404 in the contract's shape", server.methods),
    Clause("keep-alive", "a connection serves several requests", server.keep_alive),
    Clause("engines", "GET /api/v1/engines lists what is loaded", server.engines),
    Clause("metrics", "GET /metrics counts requests", server.metrics),
    Clause("openapi", "/openapi.json and /docs", server.openapi),
    Clause("503", "what is too much is refused with Retry-After", phrases.crowd),
    Clause("success after", "after all of that a phrase is dubbed", phrases.shape),
    Clause("health after", "after all of that /health is 200", server.health),
)


def check(
    url: str,
    speech: Mono,
    source: str,
    target: str,
    key: str = "",
    verify: ssl.SSLContext | bool = True,
    begin: Callable[[str], None] = lambda _: None,
    clauses: Sequence[Clause] = CLAUSES,
) -> list[Verdict]:
    """The clauses against the service at `url`; `begin` is called with the name of each.

    `speech` is in the `source` language. StartupError where nothing answers at all, ConfigError where `url` is none.
    """
    timeout = httpx2.Timeout(ANSWER_S, connect=10)
    try:
        client = httpx2.Client(base_url=url, verify=verify, trust_env=False, timeout=timeout)
    except httpx2.InvalidURL as e:
        raise ConfigError(f"URL = {url!r}: {e}") from e
    with client:
        try:
            client.get("/health")
        except UnicodeError as e:
            raise ConfigError(f"URL = {url!r}: its host is none") from e
        except (httpx2.TransportError, httpx2.DecodingError) as e:
            raise StartupError(f"{url}: no answer: {str(e) or type(e).__name__}") from e
        probe = Probe(client, np.asarray(speech, np.float32), source, target, key, verify)
        return [_tried(clause, probe, begin) for clause in clauses]


def _tried(clause: Clause, probe: Probe, begin: Callable[[str], None]) -> Verdict:
    begin(clause.name)
    made = partial(Verdict, clause.name, clause.promise)
    try:
        return made("holds", clause.check(probe))
    except Broken as e:
        return made("BROKEN", str(e))
    except NotTried as e:
        return made("not tried", str(e))


def broken(verdicts: Iterable[Verdict]) -> list[str]:
    """The names of the clauses that do not hold."""
    return [verdict.clause for verdict in verdicts if verdict.verdict == "BROKEN"]


def as_json(url: str, verdicts: Sequence[Verdict]) -> dict[str, object]:
    return {"url": url, "holds": not broken(verdicts), "clauses": [asdict(verdict) for verdict in verdicts]}


def show(url: str, verdicts: Sequence[Verdict], console: Console) -> None:
    """A table, and one line that sums it up."""
    table = Table("clause", "promise", "", "seen")
    colours = {"holds": "green", "BROKEN": "red", "not tried": "yellow"}
    for verdict in verdicts:
        word = f"[{colours[verdict.verdict]}]{verdict.verdict}[/]"
        table.add_row(escape(verdict.clause), verdict.promise, word, escape(verdict.seen))
    console.print(table)
    lacking, untried = broken(verdicts), sum(verdict.verdict == "not tried" for verdict in verdicts)
    held = len(verdicts) - len(lacking) - untried
    told = f"{url}: {held} of {len(verdicts)} clauses hold, {untried} could not be tried"
    console.print(f"{told}; broken: {', '.join(lacking)}" if lacking else told, markup=False, soft_wrap=True)
