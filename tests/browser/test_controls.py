"""The controls in a real browser, and what the page says while things break: every process is a real one."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest
from playwright.sync_api import Browser, Dialog, Page, expect

from accessibility import barriers
from dubrelay import config
from dubrelay.demo.programme import make
from dubrelay.orchestrator import keys
from media import INTERNAL_SECRET, OPEN, MediaMtx, free_mediamtx_settings, free_port, publish
from running_destination import RunningDestination
from running_orchestrator import OrchestratorProcess
from running_sts import MOCK, RunningSts
from running_worker import state_in
from waiting import wait_for

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

PATIENCE_MS = 90_000
STEERING = "[data-controls], [data-destinations] button"
STICKS_OUT = """() => [...document.querySelectorAll("body *")]
    .filter(one => !one.closest(".scroll") && one.getBoundingClientRect().right > innerWidth + 1)
    .map(one => one.outerHTML.slice(0, 80))"""
FOCUSED = """() => {
    const one = document.activeElement, style = getComputedStyle(one);
    return {name: one.name || one.value || one.textContent.trim().slice(0, 30), tag: one.tagName,
        outlined: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2};
}"""


@dataclass
class Scene:
    """A stream `x`, dubbed and forwarded to `main` and `other`, and a page that shows it."""

    page: Page
    sts: RunningSts
    orchestrator: OrchestratorProcess
    destination: RunningDestination

    def state(self, words: str) -> None:
        expect(self.page.locator("[data-state]")).to_have_text(words)

    def in_force(self) -> dict[str, Any]:
        found: dict[str, Any] = self.orchestrator.get("/v1/streams/x/config")["inForce"]
        return found

    def who_did(self, action: str) -> str:
        entries = self.orchestrator.get("/v1/streams/x/audit")["entries"]
        return next((str(entry["who"]) for entry in entries if entry["action"] == action), "nobody")

    def asked_of_sts(self) -> int:
        """Phrases, so far."""
        text = httpx2.get(f"{self.sts.url}/metrics", timeout=5, trust_env=False).text
        counts = [line.split()[-1] for line in text.splitlines() if line.startswith("sts_requests_total")]
        return round(sum(map(float, counts)))


@pytest.fixture(scope="module")
def scene(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    directory = tmp_path_factory.mktemp("controls")
    with ExitStack() as stack:
        sts = stack.enter_context(RunningSts(directory, **MOCK))
        destination = stack.enter_context(RunningDestination(directory / "destination"))
        to = [{"name": name, "url": destination.url(name)} for name in ("main", "other")]
        settings = config.Settings(
            paths=state_in(directory),
            mediamtx=free_mediamtx_settings(),
            orchestrator=config.Orchestrator(port=free_port(), internal_secret=INTERNAL_SECRET),
            access=OPEN,
            worker=config.Worker(latency_s=6),
            sts_client=config.StsClient(urls=[sts.url], breaker_open_s=2),
            streams={"x": config.Stream.model_validate({"destinations": to})},
        )
        media = stack.enter_context(MediaMtx(directory, settings))
        orchestrator = stack.enter_context(OrchestratorProcess(settings, directory))
        file = make(directory / "programme.mp4", 60).path
        stack.enter_context(publish(media.rtmp("live/x/in"), file=file, loop=True))
        media.wait_available("live/x/out", 60)
        page = browser.new_page(viewport={"width": 1366, "height": 900})
        page.set_default_timeout(PATIENCE_MS)
        expect.set_options(timeout=PATIENCE_MS)
        page.goto(settings.orchestrator.url)
        yield Scene(page, sts, orchestrator, destination)
        page.close()


@contextmanager
def answering(page: Page, yes: bool) -> Iterator[list[str]]:
    """What the page asks for meanwhile."""
    asked: list[str] = []

    def answer(dialog: Dialog) -> None:
        asked.append(dialog.message)
        dialog.accept() if yes else dialog.dismiss()

    page.on("dialog", answer)
    yield asked
    page.remove_listener("dialog", answer)


def test_in_the_break_it_says_since_when_and_no_phrase_costs_anything(scene: Scene) -> None:
    page = scene.page
    expect(page.locator("tbody tr.dubbed").first).to_be_visible()
    scene.state("on air")
    page.get_by_label("break ends after").fill("30")
    page.get_by_role("button", name="break", exact=True).click()
    scene.state("in the break")
    expect(page.locator("[data-message]")).to_contain_text("in the break since")
    expect(page.locator("[data-message]")).to_contain_text("back by itself at")
    wait_for(
        lambda: (
            "inflight_fragments 0.0"
            in scene.orchestrator.http.get("/metrics").text.replace(
                'inflight_fragments{stream_id="x"}', "inflight_fragments"
            )
        ),
        20,
        "what was on its way to be answered",
    )
    assert barriers(page) == []
    before, heard = scene.asked_of_sts(), len(scene.orchestrator.get("/v1/streams/x/history")["rows"])
    wait_for(lambda: len(scene.orchestrator.get("/v1/streams/x/history")["rows"]) > heard + 2, 40, "some seconds of it")
    assert scene.asked_of_sts() == before
    page.get_by_role("button", name="dub", exact=True).click()
    scene.state("on air")
    wait_for(lambda: scene.asked_of_sts() > before, 60, "the next phrase to be sent")
    page.get_by_text("Who changed what").click()
    expect(page.locator(".audit li").filter(has_text="break").first).to_contain_text("local")
    assert barriers(page) == []


def test_a_destination_is_stopped_after_one_question_and_the_other_goes_on(scene: Scene) -> None:
    page, main = scene.page, scene.page.locator("[data-destinations] li", has_text="main")
    expect(main.locator(".state")).to_have_text("forwarding")
    expect(page.locator("[data-destinations] li", has_text="other").locator(".state")).to_have_text("forwarding")
    with answering(page, yes=False) as asked:
        page.get_by_role("button", name="stop main").click()
        wait_for(lambda: bool(asked), 20, "the question")
    assert "Stop sending to main?" in asked[0]
    expect(main.locator(".state")).to_have_text("forwarding")
    with answering(page, yes=True):
        page.get_by_role("button", name="stop main").click()
        expect(main.locator(".state")).to_have_text("stopped")
    wait_for(lambda: not scene.destination.available("app/main"), 30, "it to end there")
    assert barriers(page) == []
    assert scene.destination.available("app/other")
    assert scene.who_did("stop") == "local"
    assert "right-KEY" not in page.content()
    page.get_by_role("button", name="start main").click()
    expect(main.locator(".state")).to_have_text("forwarding")


def test_while_the_service_is_away_the_card_says_so_and_it_is_back_by_itself(scene: Scene) -> None:
    scene.state("on air")
    scene.sts.stop(signal.SIGKILL)
    scene.state("on air, dub away")
    message = scene.page.locator("[data-message]")
    expect(message).to_contain_text("dubbing is away: original is heard (STS does not answer, since")
    assert barriers(scene.page) == []
    scene.sts.start()
    scene.state("on air")
    expect(message).to_have_text("")


@pytest.mark.complains("net::ERR_", "404", "502")
def test_an_orchestrator_that_was_killed_is_followed_again_and_no_phrase_is_missing(scene: Scene) -> None:
    page = scene.page
    scene.orchestrator.kill()
    expect(page.locator("#problem")).to_contain_text("does not answer")
    scene.orchestrator.start()
    expect(page.locator("#problem")).to_have_text("")
    scene.state("on air")

    def sequences() -> list[int]:
        said = scene.orchestrator.get("/v1/streams/x")["phrases"]
        return [phrase["sequence"] for phrase in said]

    wait_for(lambda: len(sequences()) >= 2, 60, "phrases of the new one")
    shown = "() => cards.get('x').phrases.kept.map(one => one.sequence)"
    wait_for(lambda: set(sequences()) <= set(page.evaluate(shown)[-len(sequences()) :]), 20, "all of them on the page")


@pytest.mark.parametrize("width", [390, 1366])
def test_nothing_sticks_out_and_all_is_reached_by_keyboard(scene: Scene, width: int) -> None:
    page = scene.page
    page.set_viewport_size({"width": width, "height": 844})
    page.reload()
    expect(page.locator("[data-controls]")).to_be_visible()
    assert page.evaluate(STICKS_OUT) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    wanted = {"dub", "bypass", "silence", "break", "target_language", "voice", "floor_gain_db", "original_gain_db",
              "glossary", "minutes", "stop", "The last hour", "Who changed what", "listen"}  # fmt: skip
    reached: dict[str, bool] = {}
    page.locator("body").focus()
    for _ in range(60):
        page.keyboard.press("Tab")
        found = page.evaluate(FOCUSED)
        reached[found["name"]] = found["outlined"]
    assert wanted <= reached.keys()
    assert [name for name in wanted if not reached[name]] == [], "each shows that it has the focus"


def test_who_wants_no_motion_gets_none(scene: Scene) -> None:
    scene.page.emulate_media(reduced_motion="reduce")
    moving = """() => [...document.querySelectorAll("body *")].filter(one => {
        const style = getComputedStyle(one);
        return parseFloat(style.transitionDuration) > 0 || style.animationName !== "none"}).length"""
    assert scene.page.evaluate(moving) == 0
    scene.page.emulate_media(reduced_motion="no-preference")


@pytest.mark.complains("status of 401")  # of the page that has none
def test_a_viewer_sees_no_control_and_none_is_done_for_it(browser: Browser, scene: Scene) -> None:
    """The last one: from here on the API asks for a token."""
    url = scene.orchestrator.settings.orchestrator.url
    before = scene.in_force()
    viewer = keys.new(keys.file_of(scene.orchestrator.settings.paths), "vera", "api", role="viewer")
    page = browser.new_page(viewport={"width": 1366, "height": 900})
    page.goto(url)
    page.get_by_label("API token").fill(viewer)
    page.get_by_role("button", name="Show the streams").click()
    expect(page.locator("[data-destinations] li").first).to_be_visible()
    expect(page.locator("tbody tr").first).to_be_visible()
    for control in page.locator(STEERING).all():
        expect(control).to_be_hidden()
    with httpx2.Client(base_url=url, headers={"Authorization": f"Bearer {viewer}"}, trust_env=False) as http:
        described = http.get("/openapi.json").json()["paths"]
        steering = [
            (method.upper(), re.sub(r"\{[^}]+\}", lambda part: "x" if part[0] == "{stream_id}" else "main", path))
            for path, methods in described.items() if not path.startswith("/v1/mediamtx")
            for method in methods if method not in ("get", "head")
        ]  # fmt: skip
        assert ("POST", "/v1/streams/x/break") in steering
        assert ("POST", "/v1/streams/x/destinations/main/stop") in steering
        refused = {(method, path): http.request(method, path, json={}).status_code for method, path in steering}
        assert set(refused.values()) == {403}, refused
        assert http.get("/v1/streams/x/config").json()["inForce"] == before
    page.close()
