"""The page before there is any stream, and the demo programme that it starts. MediaMTX and worker are real."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from playwright.sync_api import Browser, Page, expect

from accessibility import barriers
from dubrelay import config
from dubrelay.demo.programme import Programme
from dubrelay.orchestrator import keys
from dubrelay.orchestrator.supervisor import WORKER
from dubrelay.wire.sample import LOOP_S, sample_file
from flash_and_beep import flash_and_beep
from media import INTERNAL_SECRET, MediaMtx, free_mediamtx_settings, free_port
from running_orchestrator import RunningOrchestrator
from running_worker import state_in
from waiting import wait_for

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

PATIENCE_MS = 60_000


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningOrchestrator]:
    """Nothing is published. The sample programme is a short clip, and doctor misses something."""
    directory = tmp_path_factory.mktemp("firstrun")
    paths = state_in(directory)
    file = sample_file(paths.state_dir)
    file.parent.mkdir(parents=True)
    flash_and_beep(file, 10, b_frames=0)
    file.with_suffix(".json").write_text(Programme(path=file, seconds=LOOP_S).model_dump_json())
    settings = config.Settings(
        paths=paths,
        mediamtx=free_mediamtx_settings().model_copy(update={"binary": "/nowhere/mediamtx"}),
        orchestrator=config.Orchestrator(port=free_port(), internal_secret=INTERNAL_SECRET),
        worker=config.Worker(mode="bypass"),
    )
    with ExitStack() as stack:
        stack.enter_context(MediaMtx(directory, settings))
        yield stack.enter_context(RunningOrchestrator(settings, WORKER))


@pytest.fixture
def page(browser: Browser, idle: RunningOrchestrator) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1366, "height": 900})
    page.set_default_timeout(PATIENCE_MS)
    expect.set_options(timeout=PATIENCE_MS)
    page.goto(idle.settings.orchestrator.url)
    yield page
    page.close()


def test_who_has_no_stream_yet_sees_where_to_send_one_and_what_is_missing(
    page: Page, idle: RunningOrchestrator
) -> None:
    expect(page.get_by_role("heading", name="No stream yet")).to_be_visible()
    server = f"rtmp://127.0.0.1:{idle.settings.mediamtx.rtmp_port}/live"
    expect(page.locator("#first-server")).to_have_text(server)
    expect(page.locator("#first-stream-key")).to_have_text("main/in?key=KEY")
    expect(page.locator("#first-ffmpeg")).to_contain_text(f"-f flv '{server}/main/in?key=KEY'")
    expect(page.locator("#first-key")).to_contain_text("dubrelay keys new NAME --publish main")
    missing = page.get_by_role("row", name="MediaMTX")
    expect(missing).to_contain_text("mediamtx.binary = '/nowhere/mediamtx': there is no such program")
    expect(page.locator("#doctor-said")).to_contain_text("Not as it should be")
    assert barriers(page) == []
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert barriers(page) == []


def test_the_demo_programme_goes_on_air_and_off_by_a_button(page: Page, idle: RunningOrchestrator) -> None:
    page.get_by_role("button", name="Start the demo programme").press("Enter")
    expect(page.locator("[data-state]")).to_have_text("on air, not dubbed")
    expect(page.get_by_role("heading", name="No stream yet")).to_be_hidden()
    moving = (
        "[...document.querySelectorAll('video')].filter(v => v.getVideoPlaybackQuality().totalVideoFrames > 5).length"
    )
    wait_for(lambda: page.evaluate(moving) == 2, 60, "two pictures that move")
    expect(page.locator("#sample-said")).to_have_text("The demo programme is on: stream demo.")
    page.get_by_role("button", name="Stop the demo programme").click()
    expect(page.locator("[data-state]")).to_have_text("ended")
    expect(page.get_by_role("button", name="Start the demo programme")).to_be_visible()
    assert keys.read(keys.file_of(idle.settings.paths)).keys == ()


def test_a_viewer_is_told_and_starts_nothing(browser: Browser, idle: RunningOrchestrator) -> None:
    """The last one: from here on the API asks for a token."""
    viewer = keys.new(keys.file_of(idle.settings.paths), "vera", "api", role="viewer")
    page = browser.new_page(viewport={"width": 1366, "height": 900})
    page.goto(idle.settings.orchestrator.url)
    expect(page.get_by_label("API token")).to_be_visible()
    assert barriers(page) == []
    page.get_by_label("API token").fill(viewer)
    page.get_by_role("button", name="Show the streams").click()
    expect(page.locator("#summary")).to_have_text("1 stream")
    expect(page.locator("#sample-switch")).to_be_hidden()
    page.close()
