"""The page in a real browser: real MediaMTX, worker and STS service behind it, the engines those of the mock."""

from __future__ import annotations

import io
import logging
import re
import wave
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
import pytest
from playwright.sync_api import Browser, Dialog, Page, expect
from pydantic import SecretStr

from accessibility import barriers
from dubrelay import config
from dubrelay.demo.programme import make
from dubrelay.orchestrator import keys
from dubrelay.orchestrator.supervisor import WORKER
from dubrelay.wire.trace import PhraseTrace
from media import INTERNAL_SECRET, OPEN, MediaMtx, free_mediamtx_settings, free_port, publish
from running_orchestrator import RunningOrchestrator
from running_sts import MOCK, RunningSts
from running_worker import state_in
from waiting import wait_for
from webhook_server import WebhookServer

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

PROGRAMME_S = 60
PATIENCE_MS = 60_000
PICTURES = """() => [...document.querySelectorAll('video')].map(video => ({
    at: video.currentTime, frames: video.getVideoPlaybackQuality().totalVideoFrames}))"""
LEVELS = "() => [...Meters.players].map(player => player.levelDb)"
HEARD_DB = -60


@dataclass
class Visit:
    page: Page


@pytest.fixture(scope="module")
def on_air(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningOrchestrator]:
    """A stream `x`, dubbed."""
    directory = tmp_path_factory.mktemp("console")
    with ExitStack() as stack:
        sts = stack.enter_context(RunningSts(directory, **MOCK))
        hook = stack.enter_context(WebhookServer())
        settings = config.Settings(
            paths=state_in(directory),
            mediamtx=free_mediamtx_settings(),
            orchestrator=config.Orchestrator(port=free_port(), internal_secret=INTERNAL_SECRET),
            access=OPEN,
            worker=config.Worker(latency_s=6),
            out=config.Out(keep_original=True),
            trace=config.Trace(sounds=True),
            sts_client=config.StsClient(urls=[sts.url], cost_per_hour=360),
            alerts=config.Alerts(webhooks=(config.Webhook(name="team", url=SecretStr(hook.url)),)),
            recording=config.Recording(segment_s=3, min_free_mb=10),
        )
        media = stack.enter_context(MediaMtx(directory, settings))
        orchestrator = stack.enter_context(RunningOrchestrator(settings, WORKER))
        file = make(directory / "programme.mp4", PROGRAMME_S).path
        stack.enter_context(publish(media.rtmp("live/x/in"), file=file, loop=True))
        media.wait_available("live/x/out", 60)
        yield orchestrator


@pytest.fixture
def visit(browser: Browser, on_air: RunningOrchestrator) -> Iterator[Visit]:
    page = browser.new_page(viewport={"width": 1366, "height": 900})
    page.set_default_timeout(PATIENCE_MS)
    expect.set_options(timeout=PATIENCE_MS)
    page.goto(on_air.settings.orchestrator.url)
    yield Visit(page)
    page.close()


def test_both_pictures_move_and_sound_and_phrases_come(visit: Visit, on_air: RunningOrchestrator) -> None:
    page = visit.page
    expect(page.locator("[data-state]")).to_have_text("on air")
    wait_for(lambda: len(page.evaluate(PICTURES)) == 2, 60, "two pictures")
    wait_for(lambda: all(picture["frames"] > 25 for picture in page.evaluate(PICTURES)), 60, "pictures that move")
    before = page.evaluate(PICTURES)
    page.get_by_role("button", name="Turn level meters on").click()
    wait_for(lambda: all(level is not None and level > HEARD_DB for level in page.evaluate(LEVELS)), 60, "sound")
    wait_for(
        lambda: all(now["at"] > was["at"] + 1 for now, was in zip(page.evaluate(PICTURES), before, strict=True)),
        60,
        "a second more of both",
    )
    expect(page.locator("tbody tr.dubbed").first).to_contain_text("mock phrase")
    page.get_by_text("The last hour").click()
    expect(page.get_by_role("img", name="Loudness")).to_be_visible()
    assert barriers(page) == []


def test_what_goes_out_is_switched_and_the_glossary_edited(visit: Visit, on_air: RunningOrchestrator) -> None:
    page = visit.page
    original = page.get_by_role("button", name="original")
    original.click()
    expect(page.locator("[data-said]")).to_have_text("Done.")
    expect(original).to_have_attribute("aria-pressed", "true")
    stream = on_air.stream("x")
    assert stream is not None
    assert stream.programme == "bypass", "as the worker says"
    page.get_by_role("textbox", name="A line for each").fill("Bayern\n goal = gol \n\n")
    page.locator("fieldset", has_text="Glossary").get_by_role("button").click()
    wait_for(lambda: len(in_force(on_air).get("glossary", [])) == 2, 30, "the glossary")
    assert in_force(on_air)["glossary"] == [{"source": "Bayern", "target": ""}, {"source": "goal", "target": "gol"}]
    assert in_force(on_air)["programme"] == "bypass", "what was set before stays"
    page.get_by_role("button", name="dub", exact=True).click()
    wait_for(lambda: in_force(on_air)["programme"] == "dub", 30, "the dub")


def test_what_another_operator_sets_is_shown_and_what_is_typed_stays(visit: Visit, on_air: RunningOrchestrator) -> None:
    page = visit.page
    terms = page.get_by_role("textbox", name="A line for each")
    expect(terms).to_have_value("Bayern\ngoal = gol")

    def set_by_another(source: str) -> None:
        set_now = on_air.http.get("/v1/streams/x/config").json()["api"]
        on_air.http.put("/v1/streams/x/config", json={**set_now, "glossary": [{"source": source}]}).raise_for_status()

    set_by_another("Derby")
    expect(terms).to_have_value("Derby")
    terms.fill("mine")
    page.get_by_role("button", name="dub", exact=True).focus()
    set_by_another("Rovers")
    changes = page.evaluate("cards.get('x').view.configChanges")
    set_by_another("United")
    wait_for(lambda: page.evaluate("cards.get('x').view.configChanges") > changes, 30, "the page to know of it")
    expect(terms).to_have_value("mine")


def test_a_phrase_comes_is_heard_and_taken_away(visit: Visit) -> None:
    page = visit.page
    expect(page.locator("[data-state]")).to_have_text("on air")
    page.evaluate("""() => {
        const phrases = cards.get("x").phrases, add = phrases.add;
        window.seen = {};
        phrases.add = function (view) {
            add.call(this, view);
            if (view.phrase.status === "dubbed") window.seen[view.phrase.trace] = Date.now() / 1000;
        };
    }""")
    wait_for(lambda: page.evaluate("Object.keys(seen).length"), 60, "a phrase that comes while we look")
    row = page.locator("tbody tr.dubbed").first
    expect(row.locator("path.original")).to_have_attribute("d", re.compile(r"^M0 .*(z.*){10}$"))
    expect(row.locator("path.dub")).to_have_attribute("d", re.compile(r"^M[0-9]+ .*z"))
    row.get_by_role("button").click()
    more = page.locator("tr.more").first
    expect(more).to_contain_text("room")
    hear = more.get_by_role("button", name="hear what went out")

    def heard() -> bool:
        if not page.evaluate("Listening.audio.currentTime > 0.1"):
            if hear.get_attribute("aria-pressed") == "false":
                hear.click()  # until then it has not gone out to its end
            return False
        return True

    wait_for(heard, 30, "the sound to be played")
    with page.expect_download() as downloading:
        more.get_by_role("button", name="download it").click()
    with zipfile.ZipFile(downloading.value.path()) as archive:
        (record,) = [name for name in archive.namelist() if name.endswith(".json")]
        phrase = PhraseTrace.model_validate_json(archive.read(record))
        for sound in phrase.sounds:
            with wave.open(io.BytesIO(archive.read(f"{phrase.stem}.{sound}.wav"))) as wav:
                assert np.frombuffer(wav.readframes(wav.getnframes()), "<i2").any(), sound
    decided_at = phrase.phrase.started_at + (phrase.decided_ms - phrase.phrase.t0_ms) / 1000
    seen = page.evaluate("name => window.seen[name]", phrase.stem)
    logging.getLogger(__name__).info("a phrase is on the page %.2f s after its decision", seen - decided_at)
    with page.expect_download() as downloading:
        page.get_by_role("button", name="Download the last 10 minutes").click()
    assert zipfile.ZipFile(downloading.value.path()).testzip() is None


def test_captions_are_in_the_picture_while_their_phrase_is_heard(visit: Visit) -> None:
    page = visit.page
    page.get_by_label("captions").select_option("original")
    shown = """() => {
        const {track} = cards.get("x").captions;
        return track.mode === "showing" ? [...track.activeCues].map(cue => cue.text) : [];
    }"""
    wait_for(lambda: any("mock phrase" in text for text in page.evaluate(shown)), 60, "a caption in the picture")
    assert barriers(page) == []
    page.get_by_label("captions").select_option("")
    assert page.evaluate("cards.get('x').captions.track.mode") == "hidden"
    assert page.evaluate("cards.get('x').captions.track.cues?.length ?? 0") == 0


TONE_SHARES = """() => {
    const {players, captions} = cards.get("x"), {samples, analyser} = players.out, rate = Meters.context.sampleRate;
    const shares = [];
    const timer = setInterval(() => {
        if (!captions.track.activeCues.length) return;
        analyser.getFloatTimeDomainData(samples);
        let power = 1e-9, sin = 0, cos = 0;
        samples.forEach((x, n) => {
            power += x * x;
            sin += x * Math.sin(2 * Math.PI * 440 * n / rate);
            cos += x * Math.cos(2 * Math.PI * 440 * n / rate);
        });
        shares.push(2 * (sin * sin + cos * cos) / samples.length / power);
    }, 50);
    Object.assign(window, {shares, timer});
}"""
"""How much of what is heard is the mock's voice, a tone, while a caption says that it speaks."""


def test_another_language_is_chosen_and_heard(visit: Visit) -> None:
    page = visit.page
    page.get_by_role("button", name="Turn level meters on").click()
    page.get_by_label("captions").select_option("dub")
    sound = page.get_by_label("sound", exact=True)
    expect(sound.locator("option")).to_have_text(["Español", "Original"])
    expect(sound).to_have_value("Español")
    assert barriers(page) == []

    def tone_share() -> float:
        page.evaluate(TONE_SHARES)
        wait_for(lambda: page.evaluate("shares.length") > 60, 60, "phrases to be heard")
        return float(np.median(page.evaluate("(clearInterval(timer), shares)")))

    expect(page.locator("tbody tr.dubbed").first).to_contain_text("mock phrase")
    wait_for(lambda: page.evaluate(LEVELS)[1] > HEARD_DB, 60, "sound")
    in_spanish = tone_share()
    sound.select_option("Original")
    wait_for(lambda: page.evaluate("cards.get('x').players.out.hls.audioTrack") == 1, 30, "the other sound")
    in_english = tone_share()
    logging.getLogger(__name__).info("the dub's tone: %.2f, and of the original %.2f", in_spanish, in_english)
    assert in_spanish > 0.5
    assert in_english < 0.1
    page.evaluate("cards.get('x').players.out.load()")
    expect(sound).to_have_value("Original")
    wait_for(lambda: page.evaluate("cards.get('x').players.out.hls?.audioTrack") == 1, 30, "what was chosen")


def test_silence_is_asked_for_twice(visit: Visit, on_air: RunningOrchestrator) -> None:
    asked: list[str] = []

    def no(dialog: object) -> None:
        asked.append(dialog.message)  # type: ignore[attr-defined]
        dialog.dismiss()  # type: ignore[attr-defined]

    visit.page.on("dialog", no)
    visit.page.get_by_role("button", name="silence").click()
    assert "No sound at all" in asked[0]
    assert in_force(on_air)["programme"] == "dub"


def test_addresses_are_copied_with_a_clipboard_and_without(visit: Visit, browser: Browser) -> None:
    page = visit.page
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    addresses = page.evaluate("ask('/v1/streams/x/addresses')")
    page.get_by_role("button", name="Copy publish URL").click()
    expect(page.get_by_text("The publish URL is copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == addresses["publish"]
    page.evaluate("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    page.get_by_role("button", name="Copy watch URL").click()
    field = page.get_by_role("textbox", name="watch URL")
    expect(field).to_have_value(addresses["watch"])
    assert field.evaluate("field => field.value.slice(field.selectionStart, field.selectionEnd)") == addresses["watch"]
    elsewhere = browser.new_page()
    elsewhere.set_content(addresses["player"])
    video = elsewhere.frame_locator("iframe").locator("video")
    wait_for(lambda: video.evaluate("video => video.getVideoPlaybackQuality().totalVideoFrames") > 5, 60, "a picture")
    elsewhere.close()
    expect(page.locator("[data-facts]")).to_contain_text(re.compile(r"cost\d+\.\d\d so far"))


def test_webhooks_are_tested_and_alerts_shown_as_they_come(visit: Visit) -> None:
    page = visit.page
    expect(page.locator("#alerts-count")).to_have_text(re.compile("none|firing"))
    page.get_by_role("button", name="Test the webhooks").click()
    expect(page.locator("#alerts-said")).to_have_text("team: took it (HTTP 200)")
    page.get_by_text("Webhooks, and what is over").click()
    expect(page.get_by_role("list", name="Webhooks")).to_contain_text("took it (HTTP 200)")
    assert barriers(page) == []
    shown = page.evaluate("""() => {
        const evil = "<img src=x onerror='window.owned = true'>";
        const alert = {name: evil, status: "firing", severity: "critical", streamId: evil, of: evil, summary: evil,
            description: evil, since: 1, resolvedAt: null};
        const hook = {name: evil, host: evil, format: evil, rules: [evil], sendResolved: true, well: false, state: evil,
            waiting: 1, lost: 2};
        heard("alerts", {firing: [alert], recent: [{...alert, status: "resolved", resolvedAt: 2}], webhooks: [hook],
            problem: ""});
        return [document.title, byId("alerts-firing").innerText, document.querySelectorAll("#alerts img").length];
    }""")
    assert (shown[0], shown[2]) == ("(1) dubrelay", 0)
    assert shown[1].startswith("critical")
    assert page.evaluate("window.owned") is None


def test_the_output_is_recorded_taken_away_and_deleted(visit: Visit, on_air: RunningOrchestrator) -> None:
    page = visit.page
    recordings = page.locator("[data-recordings]")
    state = recordings.locator("[data-recordings-state]")
    expect(state).to_have_text("not recorded")
    recordings.locator("summary").click()
    expect(recordings).to_contain_text("Nothing is kept of this stream.")
    recordings.get_by_role("button", name="Record").click()
    expect(state).to_have_text("recording")
    done = recordings.locator("tbody tr", has=page.get_by_role("button", name="Delete the recording")).last
    expect(done).to_contain_text("0:00:0")
    recordings.get_by_role("button", name="Stop recording").click()
    expect(state).to_have_text("not recorded")
    with page.expect_download() as taken:
        done.get_by_role("button", name="Download the recording").click()
    assert taken.value.path().read_bytes()[4:8] == b"ftyp"
    assert taken.value.suggested_filename.startswith("x_2")
    asked: list[str] = []

    def yes(dialog: Dialog) -> None:
        asked.append(dialog.message)
        dialog.accept()

    page.on("dialog", yes)
    rows = recordings.locator("tbody tr")
    whole = wait_for(lambda: all_whole(on_air), 60, "all recordings to be whole")
    for left in range(len(whole), 0, -1):
        expect(rows).to_have_count(left)
        rows.first.get_by_role("button", name="Delete").click()
    expect(rows).to_have_count(0)
    assert "It cannot be had back." in asked[0]
    assert {entry["action"] for entry in on_air.get("/v1/streams/x/audit")["entries"]} >= {"recording", "config"}


def test_on_a_phone_nothing_sticks_out(visit: Visit) -> None:
    visit.page.set_viewport_size({"width": 390, "height": 844})
    expect(visit.page.locator("tbody tr").first).to_be_visible()
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= 390
    assert barriers(visit.page) == []


@pytest.mark.complains(r"status of 401|ERR_FAILED.*hls\.min\.js")
def test_with_a_token_a_viewer_sees_all_and_steers_nothing(
    browser: Browser, on_air: RunningOrchestrator, visit: Visit
) -> None:
    """The last one: from here on the API asks for a token."""
    file = keys.file_of(on_air.settings.paths)
    viewer = keys.new(file, "vera", "api", role="viewer")
    page = browser.new_page()
    page.route("**/hls.min.js", lambda route: route.abort(), times=1)  # MediaMTX may start more slowly than we do
    page.goto(on_air.settings.orchestrator.url)
    page.get_by_label("API token").fill("x" * 32)
    page.get_by_role("button", name="Show the streams").click()
    expect(page.get_by_label("API token")).to_be_visible()
    page.get_by_label("API token").fill(viewer)
    page.get_by_role("button", name="Show the streams").click()
    expect(page.locator("[data-state]")).to_have_text("on air", timeout=PATIENCE_MS)
    expect(page.locator("tbody tr").first).to_be_visible(timeout=PATIENCE_MS)
    wait_for(lambda: all(p["frames"] > 5 for p in page.evaluate(PICTURES)), 60, "pictures")
    expect(page.locator("[data-controls]")).to_be_hidden()
    expect(page.get_by_role("button", name="Copy publish URL")).to_be_visible()
    expect(page.locator("#alerts-count")).to_be_visible()
    expect(page.locator("#alerts-test")).to_be_hidden()
    assert barriers(page) == []
    page.close()


def all_whole(orchestrator: RunningOrchestrator) -> list[str]:
    """Files of the recordings, once none of them grows."""
    found = orchestrator.get("/v1/streams/x/recordings")["recordings"]
    return [] if any(one["open"] for one in found) else [one["file"] for one in found]


def in_force(orchestrator: RunningOrchestrator) -> dict[str, object]:
    found: dict[str, object] = orchestrator.get("/v1/streams/x/config")["inForce"]
    return found
