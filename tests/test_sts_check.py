from __future__ import annotations

import json
import subprocess
import sys
import wave
from pathlib import Path
from typing import Any

import pytest

import broken_service as flaws
from broken_service import Broken, Flaw
from certificates import certificate
from dubrelay.errors import ConfigError, StartupError
from dubrelay.sts.app import build_app
from dubrelay.sts_check import CLAUSES, Verdict, broken, check
from dubrelay.sts_check.speech import spoken
from dubrelay.trust import verification
from dubrelay.wire.fragment import ENGINES_PATH
from media import free_port
from running_sts import MOCK, RunningSts
from sts_parts import buzz, mock_settings, service, serving
from waiting import wait_for

pytestmark = pytest.mark.service

SPEECH = buzz(1.2)
KEY = "a-key-for-the-check-0123"


def verdicts_on(url: str, key: str = "", **options: Any) -> dict[str, Verdict]:
    return {verdict.clause: verdict for verdict in check(url, SPEECH, "en", "es", key, **options)}


def test_every_clause_has_a_name_of_its_own() -> None:
    assert len({clause.name for clause in CLAUSES}) == len(CLAUSES)


def test_the_mock_keeps_the_contract() -> None:
    with service(mock_settings()) as running:
        found = verdicts_on(running.url)
    assert not broken(found.values()), [found[name] for name in broken(found.values())]
    assert {name for name, verdict in found.items() if verdict.verdict == "not tried"} == {"422 language", "401"}


@pytest.mark.timeout(900)
def test_the_real_engines_keep_the_contract(tmp_path: Path) -> None:
    with RunningSts(tmp_path, key=KEY) as sts:
        verdicts = list(check(sts.url, spoken(), "en", "es", KEY))
    assert [verdict for verdict in verdicts if verdict.verdict != "holds"] == []


def test_a_service_with_a_key_and_few_languages_is_tried_on_all_clauses() -> None:
    spanish = {"spanish": {"kind": "mock", "languages": ["es"]}}
    with service(mock_settings(key=KEY, engines=spanish, tts=["spanish"])) as running:
        found = verdicts_on(running.url, KEY)
    assert {name: verdict for name, verdict in found.items() if verdict.verdict != "holds"} == {}


FLAWS: dict[Flaw, set[str]] = {
    flaws.cuts_ids_short: {"fragment_id"},
    flaws.knows_no_room: {"max_duration_ms"},
    flaws.takes_its_time: {"timeout_ms"},
    flaws.has_forgotten_what_it_said: {"again"},
    flaws.hears_stereo_wrong: {"16000 Hz, 2 ch", "44100 Hz, 2 ch", "48000 Hz, 2 ch"},
    flaws.knows_no_44100_hz: {"44100 Hz, 1 ch", "44100 Hz, 2 ch"},
    flaws.speaks_in_silence: {"silence", "no audio", "30 s", "parallel"},
    flaws.takes_only_5_s: {"30 s", "400 audio (31 s)"},
    flaws.knows_no_context: {"context", "unknown fields"},
    flaws.knows_no_glossary: {"glossary"},
    flaws.mixes_up: {"parallel"},
    flaws.takes_half_a_sample: {"400 audio.data_base64 (odd bytes)"},
    flaws.breaks_on_what_is_not_base64: {"400 audio.data_base64"},
    flaws.breaks_on_deep_json: {"400 body"},
    flaws.accepts("audio.duration_ms", 31_000): {"400 audio (31 s)"},
    flaws.accepts("audio.sample_rate_hz", 48_001): {"400 audio.sample_rate_hz (48001)"},
    flaws.accepts("sequence_number", -1): {"400 sequence_number"},
    flaws.shows_its_traceback: {"400 stream_id"},
    flaws.ignores_some_fields: {"unknown fields"},
    flaws.says_no_voice_as_400: {"422 voice"},
    flaws.knows_every_language_but_says_nothing: {"422 language"},
    flaws.forgets_retry_after: {"503"},
    flaws.closes_connections: {"keep-alive"},
    flaws.says_405_in_html: {"methods"},
    flaws.is_never_well: {"health before", "health after"},
    flaws.counts_nothing: {"metrics"},
    flaws.names_no_voices: {"engines"},
    flaws.describes_nothing: {"openapi"},
    flaws.has_no_transcript_and_says_why: set(),
}
"""By what a server does wrong, exactly the clauses that it breaks."""
COSTLY = {"30 s", "413 declared", "413 chunked", "503", "parallel"}


@pytest.mark.parametrize(
    ("flaw", "expected"), FLAWS.items(), ids=[f"{nth}-{flaw.__name__}" for nth, flaw in enumerate(FLAWS)]
)
def test_a_flaw_is_found_and_named(flaw: Flaw, expected: set[str]) -> None:
    with serving(Broken(build_app(mock_settings()), flaw), ready=flaw is not flaws.is_never_well) as running:
        wait_for(lambda: running.client.get(ENGINES_PATH).json()["pairs"], 20, "the service to be warm")
        cheap = [clause for clause in CLAUSES if clause.name in expected or clause.name not in COSTLY]
        found = verdicts_on(running.url, clauses=cheap)
    assert set(broken(found.values())) == expected, [found[name] for name in broken(found.values())]


WIDE: dict[Flaw, set[str]] = {
    flaws.is_off_by_40_ms: {"success", "own room", "success after"},
    flaws.answers_at_96_khz: {"success", "own room", "success after"},
    flaws.says_milliseconds_as_text: {"success", "context", "success after"},
    flaws.forgets_the_words: {"success", "success after"},
    flaws.keeps_what_it_heard_to_itself: {"success", "glossary", "success after"},
    flaws.dubs_with_silence: {"success", "again", "success after"},
    flaws.says_detail: {"400 body", "400 timeout_ms", "400 audio.format"},
}


@pytest.mark.parametrize(("flaw", "expected"), WIDE.items(), ids=[flaw.__name__ for flaw in WIDE])
def test_a_flaw_of_every_answer_is_found_at_each(flaw: Flaw, expected: set[str]) -> None:
    with serving(Broken(build_app(mock_settings()), flaw)) as running:
        cheap = [clause for clause in CLAUSES if clause.name not in COSTLY]
        assert expected <= set(broken(verdicts_on(running.url, clauses=cheap).values()))


@pytest.mark.parametrize("flaw", [flaws.answers_without_a_key, flaws.guards_only_phrases])
def test_a_door_that_stands_open_is_found(flaw: Flaw) -> None:
    with serving(Broken(build_app(mock_settings(key=KEY)), flaw)) as running:
        assert broken(verdicts_on(running.url, KEY).values()) == ["401"]


def test_a_server_that_reads_everything_before_it_says_413_is_found() -> None:
    with serving(Broken(build_app(mock_settings()), flaws.hands_on, reads_all=True)) as running:
        assert broken(verdicts_on(running.url).values()) == ["413 declared", "413 chunked"]


@pytest.mark.parametrize("url", ["http://[::1", f"http://{'a' * 70}"])
def test_an_address_that_is_none_is_one_error(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check(url, SPEECH, "en", "es")
    assert caught.value.message.startswith(f"URL = {url!r}: ")


def test_a_service_that_is_not_there_is_one_error() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(StartupError, match=f"{url}: no answer: "):
        check(url, SPEECH, "en", "es")


def dubrelay(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dubrelay", "sts-check", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=100, check=False)


def test_the_command_checks_over_https_with_a_key_and_writes_json(tmp_path: Path) -> None:
    own = certificate(tmp_path)
    (tmp_path / "key").write_text(KEY + "\n")
    sts = RunningSts(tmp_path, **MOCK, key=KEY, tls_cert=own.file, tls_key=own.key)
    with sts.start_trusting(verification(own.file)):
        trust = f"sts_client.ca_file={own.file}"
        done = dubrelay(sts.url, "--key-file", "key", "--set", trust, "--json", "out.json", cwd=tmp_path)
        without = dubrelay(sts.url, "--set", trust, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].startswith(f"{sts.url}: {len(CLAUSES) - 1} of {len(CLAUSES)} clauses hold")
    written = json.loads((tmp_path / "out.json").read_text())
    assert written["holds"] is True
    assert [clause["clause"] for clause in written["clauses"]] == [clause.name for clause in CLAUSES]
    assert without.returncode == 1
    assert "broken: success, " in without.stdout.splitlines()[-1]
    assert KEY not in done.stdout + without.stdout + (tmp_path / "sts.log").read_text()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["ftp://x"], "URL = 'ftp://x': must be http://HOST[:PORT]"),
        (["http://x", "--from", "fr"], "--from fr: needs --speech FILE in that language"),
        (["http://x", "--json", "none/out.json"], "--json none/out.json: cannot be written: No such file or directory"),
        (["http://x", "--key-file", "none"], "--key-file none: cannot be read: No such file or directory"),
        (["http://x", "--key-file", "empty"], "--key-file empty: its first line must be the key"),
        (["http://x", "--speech", "none"], "--speech none: cannot be read: No such file or directory"),
        (["http://x", "--speech", "empty"], "--speech empty: cannot be read: not a WAV file"),
        (["http://x", "--speech", "short.wav"], "--speech short.wav: must be 0.5 to 10 s long"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(arguments: list[str], says: str, tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    with wave.open(str(tmp_path / "short.wav"), "wb") as short:
        short.setnchannels(1)
        short.setsampwidth(2)
        short.setframerate(16_000)
        short.writeframes(bytes(3200))
    done = dubrelay(*arguments, cwd=tmp_path)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
    assert says in done.stderr
