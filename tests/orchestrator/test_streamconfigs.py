"""What is configured for streams, over a real SQLite file."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
from collections.abc import Coroutine
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from pydantic import SecretStr
from structlog.testing import capture_logs

from dubrelay.config import Destination, Settings, Stream, StreamConfig, Term
from dubrelay.errors import ConfigError, StartupError
from dubrelay.orchestrator import store as store_module
from dubrelay.orchestrator import streamconfigs
from dubrelay.orchestrator.refused import Refused
from dubrelay.orchestrator.store import Store
from dubrelay.orchestrator.streamconfigs import StreamConfigs

pytestmark = pytest.mark.service

T = TypeVar("T")
KEY = "s3cr3t-stream-key"
YOUTUBE = Destination(name="youtube", url=SecretStr(f"rtmps://user:{KEY}@a.example/live2/{KEY}"))
IN_FILE = Stream(target_language="fr", voice="heart", destinations=(YOUTUBE,))
SETTINGS = Settings(streams={"x": IN_FILE})


def configs_in(directory: Path, settings: Settings = SETTINGS) -> StreamConfigs:
    return StreamConfigs(settings, Store(directory / "state" / "streams.sqlite3"))


def run(change: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(change)


def refusal(change: Coroutine[Any, Any, object]) -> tuple[int, str]:
    with pytest.raises(Refused) as refused:
        run(change)
    return refused.value.status_code, refused.value.code


def test_a_change_lies_over_the_file_and_outlives_the_process(tmp_path: Path) -> None:
    configs = configs_in(tmp_path)
    assert configs.of("x") == IN_FILE
    glossary = (Term(source="Bayern"), Term(source="goal", target="gol"))
    run(configs.put("x", StreamConfig(voice="jm_kumo", glossary=glossary, floor_gain_db=-6), "ana"))
    expected = IN_FILE.model_copy(update={"voice": "jm_kumo", "glossary": glossary, "floor_gain_db": -6})
    assert configs.of("x") == expected
    assert configs_in(tmp_path).of("x") == expected
    run(configs.put("x", StreamConfig(), "ana"))
    assert configs.of("x") == configs_in(tmp_path).of("x") == IN_FILE


def test_an_empty_glossary_hides_the_files(tmp_path: Path) -> None:
    configs = configs_in(tmp_path, Settings(streams={"x": Stream(glossary=(Term(source="Bayern"),))}))
    run(configs.put("x", StreamConfig(glossary=()), "ana"))
    assert configs_in(tmp_path).of("x").glossary == ()


def test_what_changes_nothing_is_no_change(tmp_path: Path) -> None:
    configs, told = configs_in(tmp_path), []
    configs.watch(told.append)
    for _ in range(2):
        run(configs.put("x", StreamConfig(voice="heart"), "ana"))
    assert told == ["x"]
    assert len(run(configs.audit("x", 10))) == 1


def test_no_file_is_made_before_the_first_change_and_then_it_is_its_owners_only(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        configs = configs_in(tmp_path)
        assert list(tmp_path.iterdir()) == []
        assert run(configs.audit("x", 10)) == []
        run(configs.put_destination("y", YOUTUBE, "ana"))
    finally:
        os.umask(before)
    (file,) = (tmp_path / "state").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.chmod(0o644)
    configs_in(tmp_path)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600, "also one that was put back from a backup"


def test_each_change_has_its_audit_line_without_a_secret(tmp_path: Path) -> None:
    configs = configs_in(tmp_path)
    with capture_logs() as logged:
        run(configs.put("x", StreamConfig(voice="jm_kumo"), "ana"))
        run(configs.change("x", StreamConfig(programme="bypass"), "bo", "bypass"))
        run(configs.put("y", StreamConfig(glossary=tuple(Term(source=f"word{n}") for n in range(200))), "ana"))
        run(
            configs.put_destination(
                "x", Destination(name="b", url=SecretStr(f"srt://b.example:9?streamid={KEY}")), "ana"
            )
        )
        run(configs.delete_destination("x", "youtube", "bo"))
        run(configs.put("x", StreamConfig(), "ana", action="delete"))
    entries = run(configs_in(tmp_path).audit("x", 100))
    assert [(e.who, e.action, [(c.key, c.before, c.after) for c in e.changes]) for e in reversed(entries)] == [
        ("ana", "config", [("voice", None, "jm_kumo")]),
        ("bo", "bypass", [("programme", None, "bypass")]),
        ("ana", "destination", [("destinations.b", None, "srt://b.example:9")]),
        ("bo", "destination", [("destinations.youtube", "rtmps://a.example/live2", None)]),
        ("ana", "delete", [("programme", "bypass", None), ("voice", "jm_kumo", None)]),
    ]
    (terms,) = run(configs.audit("y", 1))[0].changes
    assert terms.after == "200 entries"
    assert [line["event"] for line in logged] == ["stream_config_changed"] * 6
    assert [line["version"] for line in logged] == [1, 2, 3, 4, 5, 6]
    assert KEY not in str(logged) + str(entries)


def test_a_deleted_key_is_not_left_in_the_file(tmp_path: Path) -> None:
    configs = configs_in(tmp_path)
    run(configs.put_destination("y", YOUTUBE, "ana"))
    file = tmp_path / "state" / "streams.sqlite3"
    assert KEY.encode() in file.read_bytes()
    run(configs.delete_destination("y", "youtube", "ana"))
    assert KEY.encode() not in file.read_bytes()
    assert refusal(configs.delete_destination("y", "youtube", "ana")) == (404, "NO_SUCH_DESTINATION")


def test_a_destination_of_the_file_can_be_replaced_taken_away_and_put_again(tmp_path: Path) -> None:
    configs = configs_in(tmp_path)
    other = Destination(name="youtube", url=SecretStr("rtmp://b.example/x"))
    run(configs.put_destination("x", other, "ana"))
    assert configs_in(tmp_path).of("x").destinations == (other,)
    run(configs.delete_destination("x", "youtube", "ana"))
    assert configs_in(tmp_path).of("x").destinations == ()
    run(configs.put("x", StreamConfig(), "ana"))
    assert configs_in(tmp_path).of("x").destinations == (), "the other settings are another matter"
    run(configs.put_destination("x", YOUTUBE, "ana"))
    assert configs_in(tmp_path).of("x").destinations == (YOUTUBE,)


def test_a_stream_has_a_bounded_number_of_destinations(tmp_path: Path) -> None:
    configs = configs_in(tmp_path)
    for n in range(16):
        run(configs.put_destination("y", Destination(name=f"d{n}", url=SecretStr("rtmp://a/b")), "ana"))
    one_more = Destination(name="more", url=SecretStr("rtmp://a/b"))
    assert refusal(configs.put_destination("y", one_more, "ana")) == (409, "TOO_MANY_DESTINATIONS")
    run(configs.put_destination("y", Destination(name="d0", url=SecretStr("rtmp://a/c")), "ana"))


def test_a_break_outlives_the_process_and_what_was_on_before_comes_back(tmp_path: Path) -> None:
    configs = configs_in(tmp_path)
    run(configs.change("x", StreamConfig(programme="bypass"), "bo", "bypass"))
    run(configs.pause("x", "ana", 600))
    began = configs.break_of("x")
    assert began is not None
    assert (configs.of("x").programme, began.back_to) == ("break", "bypass")
    assert began.until == pytest.approx(began.since + 600, abs=5)

    again = configs_in(tmp_path)
    assert again.break_of("x") == began
    run(again.put("x", StreamConfig(programme="break", voice="kore"), "bo"))
    assert again.break_of("x") == began, "another setting does not end it"
    run(again.pause("x", "bo", None))
    longer = again.break_of("x")
    assert longer is not None
    assert (longer.since, longer.until) == (began.since, None)
    run(again.resume("x", "bo"))
    assert (again.of("x").programme, again.break_of("x")) == ("bypass", None)
    assert refusal(again.resume("x", "bo")) == (409, "NO_BREAK")
    told = [(e.who, e.action, [(c.key, c.before, c.after) for c in e.changes]) for e in run(again.audit("x", 5))]
    assert told == [
        ("bo", "bypass", [("programme", "break", "bypass")]),
        ("bo", "break", [("break_until", began.until, None)]),
        ("bo", "config", [("voice", None, "kore")]),
        ("ana", "break", [("programme", "bypass", "break"), ("break_until", None, began.until)]),
        ("bo", "bypass", [("programme", None, "bypass")]),
    ]


@pytest.mark.parametrize("ended_by", ["dub", "delete"])
def test_whatever_else_is_put_on_ends_a_break(tmp_path: Path, ended_by: str) -> None:
    configs = configs_in(tmp_path)
    run(configs.pause("x", "ana", None))
    if ended_by == "dub":
        run(configs.change("x", StreamConfig(programme="dub"), "ana", "dub"))
    else:
        run(configs.put("x", StreamConfig(), "ana", action="delete"))
    assert configs.break_of("x") is None
    assert configs_in(tmp_path).break_of("x") is None


def test_a_break_whose_time_was_over_while_nothing_ran_ends_at_the_start(tmp_path: Path) -> None:
    run(configs_in(tmp_path).pause("x", "ana", 1e-6))
    configs = configs_in(tmp_path)

    async def until_it_ended() -> None:
        ended = asyncio.Event()
        configs.watch(lambda _: ended.set())
        ending = asyncio.create_task(configs.end_breaks())
        await asyncio.wait_for(ended.wait(), 20)
        ending.cancel()

    run(until_it_ended())
    assert (configs.of("x").programme, configs.break_of("x")) == ("dub", None)
    assert [(e.who, e.action) for e in run(configs.audit("x", 1))] == [("timer", "dub")]


def test_a_destination_stays_stopped_until_it_is_started_or_deleted(tmp_path: Path) -> None:
    configs = configs_in(tmp_path)
    run(configs.stop_destination("x", "youtube", "ana"))
    run(configs.stop_destination("x", "youtube", "ana"))
    again = configs_in(tmp_path)
    assert again.is_stopped("x", "youtube")
    assert [d.name for d in again.of("x").destinations] == ["youtube"], "it stays in the list"
    run(again.start_destination("x", "youtube", "bo"))
    told = [(e.who, e.action, e.changes[0].key, e.changes[0].before, e.changes[0].after)
            for e in run(again.audit("x", 9))]  # fmt: skip
    assert told == [
        ("bo", "start", "destinations.youtube", "stopped", "started"),
        ("ana", "stop", "destinations.youtube", "started", "stopped"),
    ]
    run(again.stop_destination("x", "youtube", "ana"))
    run(again.delete_destination("x", "youtube", "ana"))
    run(again.put_destination("x", YOUTUBE, "ana"))
    assert not configs_in(tmp_path).is_stopped("x", "youtube")


def test_a_file_of_an_earlier_version_is_taken_over(tmp_path: Path) -> None:
    configs = configs_in(tmp_path)
    run(configs.put("x", StreamConfig(voice="kore"), "ana"))
    with closing(sqlite3.connect(tmp_path / "state" / "streams.sqlite3")) as db:
        db.executescript("DROP TABLE on_break; DROP TABLE stopped_destination; PRAGMA user_version = 1")
    taken_over = configs_in(tmp_path)
    assert taken_over.of("x").voice == "kore"
    run(taken_over.pause("x", "ana", None))
    assert configs_in(tmp_path).break_of("x") is not None


def test_so_many_streams_and_audit_lines_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streamconfigs, "MAX_STREAMS", 2)
    monkeypatch.setattr(store_module, "AUDIT_KEPT", 3)
    configs = configs_in(tmp_path)
    run(configs.put("a", StreamConfig(voice="heart"), "ana"))
    run(configs.put_destination("b", YOUTUBE, "ana"))
    assert refusal(configs.put("c", StreamConfig(voice="heart"), "ana")) == (409, "TOO_MANY_STREAMS")
    run(configs.put("b", StreamConfig(voice="heart"), "ana"))
    run(configs.put("b", StreamConfig(), "ana"))
    run(configs.put("a", StreamConfig(), "ana"))
    run(configs.put("c", StreamConfig(voice="heart"), "ana"))
    assert [len(run(configs.audit(name, 100))) for name in "abc"] == [1, 1, 1]


def test_of_two_who_change_the_same_version_one_is_told(tmp_path: Path) -> None:
    configs = configs_in(tmp_path)
    run(configs.put("x", StreamConfig(voice="heart"), "ana"))
    version, _ = configs.set_for("x")

    async def at_once() -> list[object]:
        both = [configs.put("x", StreamConfig(voice=voice), "ana", expected=version) for voice in ("a", "b")]
        return await asyncio.gather(*both, return_exceptions=True)

    first, second = run(at_once())
    assert first is None
    assert isinstance(second, Refused)
    assert (second.status_code, second.code) == (412, "CHANGED_MEANWHILE")
    assert configs.of("x").voice == "a"
    assert refusal(configs.put("x", StreamConfig(), "ana", expected=version)) == (412, "CHANGED_MEANWHILE")


def test_a_version_never_comes_again(tmp_path: Path) -> None:
    """Else a change based on what was deleted meanwhile would be taken."""
    configs, seen = configs_in(tmp_path), set()
    for _ in range(3):
        run(configs.put("x", StreamConfig(voice="a"), "ana"))
        seen.add(configs.set_for("x")[0])
        run(configs.put("x", StreamConfig(), "ana"))
        assert configs.set_for("x")[0] == 0
        configs = configs_in(tmp_path)
    assert len(seen) == 3


def test_a_change_is_made_to_its_end_even_if_nobody_waits_for_it(tmp_path: Path) -> None:
    configs = configs_in(tmp_path)

    async def gives_up() -> None:
        changing = asyncio.create_task(configs.put("x", StreamConfig(voice="a"), "ana"))
        await asyncio.sleep(0)
        changing.cancel()
        await configs.put("y", StreamConfig(voice="b"), "ana")  # comes after it

    run(gives_up())
    assert configs.of("x").voice == configs_in(tmp_path).of("x").voice == "a"


def test_what_does_not_go_with_the_other_settings_is_refused(tmp_path: Path) -> None:
    configs = configs_in(tmp_path, Settings(streams={"x": Stream(mode="bypass")}))
    with pytest.raises(ConfigError, match="config: programme = 'dub' needs mode = 'dub'"):
        run(configs.change("x", StreamConfig(programme="dub"), "ana", "dub"))
    run(configs.put("x", StreamConfig(programme="dub", mode="dub"), "ana"))


def test_what_cannot_be_written_is_not_in_force(tmp_path: Path) -> None:
    configs = configs_in(tmp_path)
    (tmp_path / "state").write_text("a file where the folder should be")
    assert refusal(configs.put("x", StreamConfig(voice="a"), "ana")) == (503, "STORE_FAILED")
    assert refusal(configs.put_destination("y", YOUTUBE, "ana")) == (503, "STORE_FAILED")
    assert configs.of("x") == IN_FILE


@pytest.mark.parametrize("damage", ["no database", "newer"])
def test_a_file_that_cannot_be_read_is_one_line_that_says_what_to_do(tmp_path: Path, damage: str) -> None:
    run(configs_in(tmp_path).put("x", StreamConfig(voice="a"), "ana"))
    file = tmp_path / "state" / "streams.sqlite3"
    if damage == "newer":
        with closing(sqlite3.connect(file)) as db:
            db.execute("PRAGMA user_version = 9")
    else:
        file.write_bytes(b"no database at all, and longer than a header of one would be" * 20)
    with pytest.raises(StartupError) as error:
        configs_in(tmp_path)
    assert str(file) in error.value.message
    assert "move it away" in error.value.message
    assert "\n" not in error.value.message


def test_a_key_that_is_not_valid_any_more_is_left_out(tmp_path: Path) -> None:
    run(configs_in(tmp_path).put("x", StreamConfig(voice="a"), "ana"))
    with closing(sqlite3.connect(tmp_path / "state" / "streams.sqlite3")) as db, db:
        db.execute("UPDATE config SET document = ?", (json.dumps({"voice": "a", "fallback": "loud", "gone": 1}),))
        db.execute("INSERT INTO destination VALUES ('x', 'b', ?)", (f"gopher://{KEY}",))
    with capture_logs() as logged:
        assert configs_in(tmp_path).of("x") == IN_FILE.model_copy(update={"voice": "a"})
    assert len(logged) == 3
    assert KEY not in str(logged)


WRITER = """
import asyncio, sys
from pathlib import Path
from dubrelay import logs
from dubrelay.config import Settings, StreamConfig, Term
from dubrelay.orchestrator.store import Store
from dubrelay.orchestrator.streamconfigs import StreamConfigs
logs.setup("writer", "error")
async def main():
    configs = StreamConfigs(Settings(), Store(Path(sys.argv[1]) / "state" / "streams.sqlite3"))
    n = int(configs.of("x").voice or 0)
    while True:
        n += 1
        terms = tuple(Term(source=f"{n} {i} " + "x" * 80) for i in range(200))
        await configs.put("x", StreamConfig(voice=str(n), glossary=terms), "ana")
        print(n, flush=True)
asyncio.run(main())
"""


def test_killed_in_mid_write_the_last_change_that_was_confirmed_is_there_whole(tmp_path: Path) -> None:
    for round_number in range(8):
        command = [sys.executable, "-c", WRITER, str(tmp_path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ) as writer:
            assert writer.stdout is not None
            for _ in range(2 + round_number):
                assert writer.stdout.readline(), "the writer ended by itself"
            writer.send_signal(signal.SIGKILL)
            confirmed = [int(line) for line in writer.stdout.read().split()]
        configs = configs_in(tmp_path, Settings())
        stored = configs.of("x")
        assert stored.voice is not None
        assert stored.glossary is not None
        n = int(stored.voice)
        assert not confirmed or n in (confirmed[-1], confirmed[-1] + 1)
        assert {term.source.split()[0] for term in stored.glossary} == {stored.voice}
        (entry,) = run(configs.audit("x", 1))
        assert entry.version == configs.set_for("x")[0]
        assert ("voice", stored.voice) in [(change.key, change.after) for change in entry.changes]


IDS = st.sampled_from(["x", "y", "z"])
CHANGES = st.builds(
    StreamConfig,
    programme=st.sampled_from([None, "dub", "bypass", "silence"]),
    voice=st.sampled_from([None, "heart", "jm_kumo"]),
    floor_gain_db=st.sampled_from([None, -100.0, -0.1]),
    glossary=st.sampled_from([None, (), (Term(source="ñ😀\u200d", target="'; DROP TABLE config; --"),)]),
    publisher_lang=st.sampled_from([None, (), ("es", "pt-br")]),
)
DESTINATIONS = st.builds(
    Destination,
    name=st.sampled_from(["youtube", "b", "c"]),
    url=st.sampled_from(["rtmp://a/1", "srt://b:9?streamid=x"]).map(SecretStr),
)


class Sequences(RuleBasedStateMachine):
    """Whatever is changed in whatever order: memory, disk and what was asked for are the same."""

    @initialize()
    def begin(self) -> None:
        self.runner = asyncio.Runner()
        self.directory = tempfile.TemporaryDirectory()
        self.configs = configs_in(Path(self.directory.name))
        self.set: dict[str, StreamConfig] = {}
        self.destinations = {"x": {"youtube": YOUTUBE}, "y": {}, "z": {}}
        self.changes = 0

    def _replace(self, stream_id: str, wanted: StreamConfig) -> None:
        self.changes += wanted != self.set.get(stream_id, StreamConfig())
        self.set[stream_id] = wanted

    @rule(stream_id=IDS, wanted=CHANGES)
    def put(self, stream_id: str, wanted: StreamConfig) -> None:
        self.runner.run(self.configs.put(stream_id, wanted, "ana"))
        self._replace(stream_id, wanted)

    @rule(stream_id=IDS, changed=CHANGES)
    def change(self, stream_id: str, changed: StreamConfig) -> None:
        self.runner.run(self.configs.change(stream_id, changed, "ana", "config"))
        self._replace(stream_id, self.set.get(stream_id, StreamConfig()).under(changed))

    @rule(stream_id=IDS)
    def delete(self, stream_id: str) -> None:
        self.put(stream_id, StreamConfig())

    @rule(stream_id=IDS, destination=DESTINATIONS)
    def put_destination(self, stream_id: str, destination: Destination) -> None:
        self.runner.run(self.configs.put_destination(stream_id, destination, "ana"))
        self.changes += destination != self.destinations[stream_id].get(destination.name)
        self.destinations[stream_id][destination.name] = destination

    @rule(stream_id=IDS, name=st.sampled_from(["youtube", "b", "c"]))
    def delete_destination(self, stream_id: str, name: str) -> None:
        if name in self.destinations[stream_id]:
            self.runner.run(self.configs.delete_destination(stream_id, name, "ana"))
            del self.destinations[stream_id][name]
            self.changes += 1
        else:
            with pytest.raises(Refused):
                self.runner.run(self.configs.delete_destination(stream_id, name, "ana"))

    @rule()
    def reopen(self) -> None:
        self.configs = configs_in(Path(self.directory.name))

    @invariant()
    def each_stream_is_as_was_asked(self) -> None:
        for stream_id in "xyz":
            in_file = SETTINGS.streams.get(stream_id, Stream())
            expected = in_file.under(self.set.get(stream_id, StreamConfig()))
            found = self.configs.of(stream_id)
            assert found.model_copy(update={"destinations": ()}) == expected.model_copy(update={"destinations": ()})
            assert {d.name: d for d in found.destinations} == self.destinations[stream_id]

    @invariant()
    def each_change_was_noted_once(self) -> None:
        assert sum(len(self.runner.run(self.configs.audit(name, 1000))) for name in "xyz") == self.changes

    def teardown(self) -> None:
        if hasattr(self, "runner"):
            self.runner.close()
            self.directory.cleanup()


TestSequences = Sequences.TestCase
TestSequences.settings = hypothesis_settings(max_examples=25, stateful_step_count=15, deadline=None)
