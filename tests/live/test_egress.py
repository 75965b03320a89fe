"""Destinations of `out`: the real MediaMTX forwards to a real second one. ffmpeg publishes `out`, but for the test that
measures the whole chain."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import psutil
import pytest
from pydantic import SecretStr

from certificates import certificate
from dubrelay import config
from dubrelay.config import Destination
from dubrelay.demo.access_units import access_units, match
from dubrelay.orchestrator.egress import Egress
from dubrelay.orchestrator.mediamtx import ControlApi, MediaMtxError
from dubrelay.wire.streams import DestinationView
from flash_and_beep import av_offset, flash_and_beep
from media import INTERNAL_SECRET, OPEN, MediaMtx, free_mediamtx_settings, free_port, publish, recording
from running_destination import KEY, RunningDestination
from running_orchestrator import FAKE_WORKER, RunningOrchestrator
from waiting import wait_for

pytestmark = [pytest.mark.live, pytest.mark.timeout(300)]

WORKER = (sys.executable, "-m", "dubrelay.worker")
WRONG = "wrong-KEY-4567"
PATIENCE_S = 60


def settings_with(log_level: str = "info", **more: Any) -> config.Settings:
    return config.Settings(
        mediamtx=free_mediamtx_settings().model_copy(update={"log_level": log_level}),
        orchestrator=config.Orchestrator(port=free_port(), grace_s=1, internal_secret=INTERNAL_SECRET),
        access=OPEN,
        **more,
    )


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return flash_and_beep(tmp_path_factory.mktemp("clip") / "clip.mp4", 30, 2)


@pytest.fixture(scope="module")
def plain_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return flash_and_beep(tmp_path_factory.mktemp("clip") / "plain.mp4", 30, 0)


@pytest.fixture
def destination(tmp_path: Path) -> RunningDestination:
    """Not started."""
    return RunningDestination(tmp_path / "destination")


class Scene:
    """A stream `x` in session whose output is the clip, again and again."""

    def __init__(self, media: MediaMtx, orchestrator: RunningOrchestrator) -> None:
        self.media, self.orchestrator = media, orchestrator

    def put(self, name: str, url: str) -> None:
        answer = self.orchestrator.http.put(f"/v1/streams/x/destinations/{name}", json={"url": url})
        assert answer.status_code == 204, answer.text

    def post(self, what: str) -> None:
        assert self.orchestrator.http.post(f"/v1/streams/x/destinations/{what}").status_code == 204

    def delete(self, name: str) -> None:
        assert self.orchestrator.http.delete(f"/v1/streams/x/destinations/{name}").status_code == 204

    def views(self) -> dict[str, DestinationView]:
        found = self.orchestrator.get("/v1/streams/x/destinations")["destinations"]
        return {view["name"]: DestinationView.model_validate(view) for view in found}

    def wait(self, name: str, state: str) -> DestinationView:
        def reached() -> DestinationView | None:
            view = self.views().get(name)
            return view if view is not None and view.state == state else None

        found = wait_for(reached, PATIENCE_S, f"{name} to be {state}; it is {self.views().get(name)}")
        assert found is not None
        return found

    def entries(self) -> dict[str, str]:
        """What MediaMTX forwards `out` to: dest without its key -> id of the entry."""
        items = self.media.api("/v3/paths/forward/list?path=live/x/out").get("items", [])
        return {item["conf"]["dest"].partition("?")[0]: item["id"] for item in items}

    def out(self) -> dict[str, Any]:
        found: dict[str, Any] = self.media.api("/v3/paths/get/live/x/out")
        return found


@contextmanager
def scene(directory: Path, settings: config.Settings, clip: Path, query: str = "") -> Iterator[Scene]:
    with ExitStack() as stack:
        media = stack.enter_context(MediaMtx(directory, settings))
        orchestrator = stack.enter_context(RunningOrchestrator(settings, FAKE_WORKER))
        stack.enter_context(publish(media.rtmp(f"live/x/in{query}"), file=clip, loop=True))
        stack.enter_context(publish(media.output("x"), file=clip, loop=True))
        media.wait_available("live/x/in")
        media.wait_available("live/x/out")
        orchestrator.wait_state("x", "running", PATIENCE_S)
        yield Scene(media, orchestrator)


def configured_paths(media: MediaMtx) -> int:
    count: int = media.api("/v3/config/paths/list")["itemCount"]
    return count


def wait_recorded(file: Path, size: int) -> None:
    wait_for(lambda: file.exists() and file.stat().st_size >= size, PATIENCE_S, f"{size} bytes of {file}")


def assert_whole(recorded: Path, published: Path) -> None:
    """Every access unit from the first to the last, bit by bit."""
    found = match(access_units(published), access_units(recorded))
    assert found is not None, f"{recorded} holds nothing of {published}"
    assert found.recorded > 25
    assert found.equal == found.recorded


def test_a_destination_that_is_not_there_dies_freezes_and_comes_back(
    tmp_path: Path, destination: RunningDestination, clip: Path
) -> None:
    with scene(tmp_path, settings_with(), clip) as x:
        x.put("main", destination.url())
        view = x.wait("main", "unreachable")
        assert "nothing listens there" in view.last_error
        wait_for(lambda: x.views()["main"].retries >= 2, PATIENCE_S, "retries")
        with destination:
            up = x.wait("main", "forwarding")
            wait_for(lambda: (x.views()["main"].bitrate_kbps or 0) > 100, PATIENCE_S, "a bitrate")
            destination.freeze()
            frozen = x.wait("main", "stalled")
            assert "taken no data" in frozen.last_error
            destination.thaw()
            x.wait("main", "forwarding")
            destination.kill()
            dead = x.wait("main", "unreachable")
            destination.start()
            again = x.wait("main", "forwarding")
        since = [view.since or 0 for view in (view, up, frozen, dead, again)]
        assert since == sorted(set(since))
        assert again.retries > dead.retries >= up.retries > 0
        assert again.sent_bytes > up.sent_bytes
        assert x.out()["source"] is not None


def test_the_living_one_never_notices_the_others_and_its_sound_is_in_time(
    tmp_path: Path, destination: RunningDestination, clip: Path
) -> None:
    """The whole chain: publisher with B-frames, worker in bypass mode, `out`, destination."""
    others = {
        "nobody": f"rtmp://127.0.0.1:{free_port()}/app/{KEY}",
        "nowhere": f"rtmp://no-such-host.invalid/app/{KEY}",
        "wrong": destination.url("y", WRONG),
    }
    listed = [{"name": name, "url": url} for name, url in {**others, "good": destination.url()}.items()]
    settings = settings_with(
        streams={"x": {"destinations": listed}}, worker={"mode": "bypass"}, paths={"state_dir": tmp_path}
    )
    recorded = tmp_path / "recorded.flv"
    with (
        destination,
        MediaMtx(tmp_path, settings) as media,
        RunningOrchestrator(settings, WORKER) as orchestrator,
        publish(media.rtmp("live/x/in"), file=clip, loop=True),
    ):
        x = Scene(media, orchestrator)
        wait_for(lambda: orchestrator.stream("x") is not None, PATIENCE_S, "the stream")
        x.wait("good", "forwarding")
        destination.wait_available("app/x")
        with recording(destination.rtmp("app/x"), recorded):
            states = {name: x.wait(name, "refused" if name == "wrong" else "unreachable") for name in others}
            retried = {name: view.retries for name, view in states.items()}
            for name in others:
                wait_for(lambda name=name: x.views()[name].retries >= retried[name] + 2, PATIENCE_S, f"{name} retried")
        assert "no host of that name" in states["nowhere"].last_error
        assert "is the key right?" in states["wrong"].last_error
        good = x.wait("good", "forwarding")
        assert (good.retries, good.last_error) == (0, "")
        assert orchestrator.stream("x").destinations == list(x.views().values())  # type: ignore[union-attr]
        metrics = orchestrator.http.get("/metrics").text
    assert_whole(recorded, clip)
    offset = av_offset(recorded)
    assert offset.pairs >= 8
    assert offset.mismatches == 0
    assert -10 <= offset.min_ms <= offset.max_ms <= 10
    assert 'orchestrator_destinations{state="unreachable"} 2.0' in metrics
    assert 'orchestrator_destinations{state="forwarding"} 1.0' in metrics
    assert 'orchestrator_destination_retries_total{destination="good",stream_id="x"} 0.0' in metrics


def test_one_is_added_and_one_taken_away_while_another_goes_on(
    tmp_path: Path, destination: RunningDestination, clip: Path
) -> None:
    recorded = tmp_path / "recorded.flv"
    with destination, scene(tmp_path, settings_with(), clip) as x:
        publisher = x.out()["source"]
        for name in ("first", "middle", "last"):
            x.put(name, destination.url(name))
        for name in ("first", "middle", "last"):
            x.wait(name, "forwarding")
        before = x.entries()
        with recording(destination.rtmp("app/last"), recorded):
            x.delete("middle")
            wait_for(lambda: not destination.available("app/middle"), PATIENCE_S, "middle to end")
            assert len(x.entries()) == 3, "its place is kept"
            x.delete("first")
            wait_for(lambda: not destination.available("app/first"), PATIENCE_S, "first to end")
            x.put("new", destination.url("new"))
            x.wait("new", "forwarding")
            assert len(x.entries()) == 3, "a place that was free is used"
            x.post("new/stop")
            x.wait("new", "stopped")
            wait_for(lambda: not destination.available("app/new"), PATIENCE_S, "new to end")
            x.post("new/start")
            x.wait("new", "forwarding")
        last = next(dest for dest in before if dest.endswith("last"))
        assert x.entries()[last] == before[last]
        assert x.views()["last"].retries == 0
        assert x.out()["source"] == publisher
        x.delete("new")
        x.delete("last")
        wait_for(lambda: x.out()["confName"].startswith("~"), PATIENCE_S, "the path to be as all others")
        assert x.out()["source"] == publisher
    assert_whole(recorded, clip)


def test_they_are_put_back_after_mediamtx_was_restarted_and_gone_after_the_stream(
    tmp_path: Path, destination: RunningDestination, clip: Path
) -> None:
    settings = settings_with(streams={"x": {"destinations": [{"name": "main", "url": destination.url()}]}})
    with destination, MediaMtx(tmp_path, settings) as media, RunningOrchestrator(settings) as orchestrator:
        x = Scene(media, orchestrator)
        own = configured_paths(media)
        for before in (media.kill, media.stop, lambda: None):
            before()
            if media.process is None:
                wait_for(lambda: x.views()["main"].state in (None, "connecting"), PATIENCE_S, "it to be noticed")
                media.start()
            with (
                publish(media.rtmp("live/x/in"), file=clip, loop=True),
                publish(media.output("x"), file=clip, loop=True),
            ):
                x.wait("main", "forwarding")
                assert (
                    'orchestrator_destination_bytes_total{destination="main"' in orchestrator.http.get("/metrics").text
                )
        orchestrator.wait_state("x", "idle", PATIENCE_S)
        wait_for(lambda: configured_paths(media) == own, PATIENCE_S, "its path to go")
        assert x.views()["main"].state is None
        assert 'destination="main"' not in orchestrator.http.get("/metrics").text


class _AnswerLost(ControlApi):
    async def put_path(self, name: str, conf: dict[str, Any]) -> None:
        await super().put_path(name, conf)
        raise MediaMtxError("does not answer within 2 s")


def test_what_was_added_goes_also_where_mediamtx_answered_too_late(tmp_path: Path, clip: Path) -> None:
    target = Destination(name="main", url=SecretStr("rtmp://192.0.2.1/app/x"))

    async def while_and_after(media: MediaMtx) -> list[int]:
        api = _AnswerLost(media.settings().api_url)
        egress = Egress(media.all_settings(), api, lambda _: [target])
        counts = []
        for in_session in (["x"], []):
            await egress.look(await api.paths(), in_session)
            counts.append(configured_paths(media))
        await api.close()
        return counts

    with MediaMtx(tmp_path) as media, publish(media.output("x"), file=clip, loop=True):
        media.wait_available("live/x/out")
        own = configured_paths(media)
        assert asyncio.run(while_and_after(media)) == [own + 1, own]


def test_a_new_orchestrator_leaves_alone_what_is_as_it_should_be(
    tmp_path: Path, destination: RunningDestination, clip: Path
) -> None:
    settings = settings_with(streams={"x": {"destinations": [{"name": "main", "url": destination.url()}]}})
    recorded = tmp_path / "recorded.flv"
    with destination, MediaMtx(tmp_path, settings) as media, ExitStack() as on_air:
        with RunningOrchestrator(settings) as orchestrator:
            on_air.enter_context(publish(media.rtmp("live/x/in"), file=clip, loop=True))
            on_air.enter_context(publish(media.output("x"), file=clip, loop=True))
            Scene(media, orchestrator).wait("main", "forwarding")
        destination.wait_available("app/x")
        with recording(destination.rtmp("app/x"), recorded):
            wait_recorded(recorded, 100_000)
            with RunningOrchestrator(settings) as orchestrator:
                Scene(media, orchestrator).wait("main", "forwarding")
                wait_recorded(recorded, recorded.stat().st_size + 300_000)
    assert_whole(recorded, clip)


def test_an_ffmpeg_that_listens_gets_the_picture_bit_by_bit(tmp_path: Path, clip: Path) -> None:
    """By SRT: the RTMP of `ffmpeg -listen 1` MediaMTX does not understand."""
    port, file = free_port(), tmp_path / "taken.mkv"
    listen = f"srt://127.0.0.1:{port}?mode=listener"
    command = ["ffmpeg", "-nostdin", "-v", "error", "-i", listen, "-t", "8", "-c", "copy", str(file)]
    with scene(tmp_path, settings_with(), clip) as x, subprocess.Popen(command) as listener:
        x.put("ffmpeg", f"srt://127.0.0.1:{port}")
        x.wait("ffmpeg", "forwarding")
        assert listener.wait(PATIENCE_S) == 0
        x.wait("ffmpeg", "unreachable")
    assert_whole(file, clip)
    offset = av_offset(file)
    assert -10 <= offset.min_ms <= offset.max_ms <= 10


def test_rtmps_srt_and_whip(tmp_path: Path, clip: Path, plain_clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """WHIP takes no B-frames and no AAC: it gets the picture only, and says so where it cannot."""
    trusted = certificate(tmp_path, "DNS:localhost")
    destination = RunningDestination(tmp_path / "destination", trusted)
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted.file))
    with destination, scene(tmp_path, settings_with("warn"), plain_clip) as x:
        for name, url in {
            "rtmps": destination.rtmps_url("rtmps"),
            "srt": destination.srt_url("srt"),
            "whip": destination.whip_url("w"),
            "srt-wrong": destination.srt_url("srt2", WRONG),
            "whip-wrong": destination.whip_url("w2", WRONG),
        }.items():
            x.put(name, url)
        for name in ("rtmps", "srt", "whip"):
            x.wait(name, "forwarding")
        assert "streamid and passphrase" in x.wait("srt-wrong", "refused").last_error
        assert "is the key right?" in x.wait("whip-wrong", "refused").last_error
        available = {item["name"] for item in destination.api("/v3/paths/list")["items"] if item["available"]}
        assert available == {"app/rtmps", "app/srt", "app/w"}
        destination.freeze()
        x.wait("srt", "unreachable")
        destination.thaw()
        x.wait("srt", "forwarding")
        assert KEY not in x.media.log()
        assert WRONG not in x.media.log()
    with destination, scene(tmp_path, settings_with(), clip) as x:
        x.put("whip", destination.whip_url("w"))
        assert "cannot carry this stream" in x.wait("whip", "refused").last_error


def test_a_certificate_that_is_not_trusted_is_said(tmp_path: Path, clip: Path) -> None:
    destination = RunningDestination(tmp_path / "destination", certificate(tmp_path, "DNS:localhost"))
    with destination, scene(tmp_path, settings_with(), clip) as x:
        x.put("rtmps", destination.rtmps_url())
        assert "certificate is not trusted" in x.wait("rtmps", "unreachable").last_error


def test_no_key_is_seen_anywhere_and_the_system_is_no_destination_of_its_own(
    tmp_path: Path, destination: RunningDestination, clip: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = settings_with()
    with destination, scene(tmp_path, settings, clip) as x:
        x.put("good", destination.url())
        x.put("wrong", destination.url("y", WRONG))
        x.put("srt", destination.srt_url())
        own = settings.mediamtx
        x.put("loop", f"rtmp://localhost:{own.rtmp_port}/live/x/in?key={KEY}")
        x.put("api", f"whip://127.0.0.1:{own.api_port}/v3/config#{KEY}")
        x.put("same", destination.url())
        x.wait("good", "forwarding")
        x.wait("wrong", "refused")
        assert x.wait("same", "refused").last_error == "it has the same URL as good"
        assert "mediamtx.log_level" in x.wait("srt", "refused").last_error
        for name in ("loop", "api"):
            assert "this system itself" in x.wait(name, "refused").last_error
        assert len(x.entries()) == 2
        seen = [
            x.orchestrator.http.get(path).text
            for path in ("/v1/streams", "/v1/streams/x", "/v1/streams/x/destinations", "/metrics", "/openapi.json")
        ]
        for bad in (f"http://h/{KEY}", f"rtmp://h:{KEY}/a/b", f"whip://h/x?a={KEY}"):
            answer = x.orchestrator.http.put("/v1/streams/x/destinations/bad", json={"url": bad})
            assert answer.status_code == 400
            seen.append(answer.text)
        for body in ({"uri": KEY}, {"url": [KEY]}, {"url": "rtmp://h/a/b", "more": KEY}):
            answer = x.orchestrator.http.put("/v1/streams/x/destinations/bad", json=body)
            assert answer.status_code == 400
            seen.append(answer.text)
        argv = [" ".join(p.info["cmdline"] or ()) for p in psutil.process_iter(["cmdline"])]
    out, err = capfd.readouterr()
    for text in (*seen, *argv, out, err, (tmp_path / "mediamtx.log").read_text()):
        assert KEY not in text
        assert WRONG not in text
    assert "destination_state" in out + err


def test_a_publisher_may_name_destinations_on_hosts_that_are_allowed(
    tmp_path: Path, destination: RunningDestination, clip: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = settings_with(egress={"publisher_hosts": ["127.0.0.1"]})
    query = "?" + urlencode([("dest", destination.url()), ("dest", "rtmp://localhost/a/b")])
    with destination, scene(tmp_path, settings, clip, query) as x:
        assert x.wait("publisher-1", "forwarding").given_by == "publisher"
        assert set(x.views()) == {"publisher-1"}
    out, err = capfd.readouterr()
    assert "destination_not_allowed" in out + err
    assert KEY not in out + err + x.media.log()
