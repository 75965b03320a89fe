"""Text that wants to be more than text, from everywhere that text comes from: the page shows it, and nothing happens.

The orchestrator is the real one; what its worker says, its store holds and its API takes is made up.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from dubrelay import config
from dubrelay.orchestrator.store import FILE_NAME, Store
from dubrelay.wire.streams import Change
from fake_mediamtx import FakeMediaMtx
from media import free_port
from running_orchestrator import FAKE_WORKER, RunningOrchestrator

pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(300),
    pytest.mark.complains(r"hls\.min\.js|preview/", "40[04].*/v1/streams/"),  # no MediaMTX; streams that are not there
]

PATIENCE_MS = 60_000
MARKUP = [
    "<img src=x onerror='window.owned=1'>",
    "</script><script>window.owned=1</script>",
    "</textarea></td></table><svg onload='window.owned=1'>",
    "<iframe srcdoc='<script>parent.owned=1</script>'>",
    "\"'><b onmouseover=window.owned=1 style=position:fixed;inset:0>",
    "javascript:window.owned=1",
    "${window.owned=1} {{constructor.constructor('window.owned=1')()}}",
    "&lt;b&gt; &amp;amp; &#60;script&#62;",
    "__proto__",
]
CONTROLS = ["nul \0 bell \x07 \x1b[2J \x7f \x85 \u2028 end", "\u202egpj.exe \u2066 isolated", "a\nb\r\nc\td"]
LONG = ["W" * 3000, "://" * 800]
HOSTILE = [*MARKUP, *CONTROLS, *LONG]
TERMS = [{"source": text, "target": ""} for text in MARKUP if "=" not in text and len(text) <= 100]
DESTINATION = "rtmp://a.example/<script>window.owned=1<!--"
STRANGERS = "main :is(img, script, iframe, [onload], [onerror], [onmouseover], [srcdoc])"
STICKS_OUT = """() => [...document.querySelectorAll("body *")]
    .filter(one => !one.closest(".scroll") && one.getBoundingClientRect().right > innerWidth + 1)
    .map(one => one.outerHTML.slice(0, 80))"""


def is_unharmed(page: Page) -> None:
    assert page.evaluate("window.owned") is None
    assert page.evaluate("window.dialogs") == 0
    assert page.locator(STRANGERS).count() == 0
    assert page.evaluate("Object.keys(Object.prototype)") == []


def hostile_phrase(text: str) -> dict[str, object]:
    words = dict.fromkeys(["transcript", "translated_text", "voice", "message", "trace"], text)
    stages = {text: 3, "asr": 200}
    return words | {"status": "fallback", "reason": "error", "notes": [text], "stage_ms": stages, "sounds": ["out"]}


def every_text_as(text: str, value: Any) -> Any:
    """What the API says, with `text` for each of its texts but states, which are words of ours."""
    if isinstance(value, list):
        return [every_text_as(text, inner) for inner in value]
    if isinstance(value, dict):
        return {key: inner if key == "state" else every_text_as(text, inner) for key, inner in value.items()}
    return text if isinstance(value, str) and value else value


@pytest.fixture(scope="module")
def orchestrator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningOrchestrator]:
    """A stream `x` all of whose texts are hostile."""
    directory = tmp_path_factory.mktemp("hostile")
    says = directory / "says.json"
    says.write_text(json.dumps({"message": " ".join(MARKUP), "phrases": [hostile_phrase(text) for text in HOSTILE]}))
    state = config.Paths(state_dir=directory / "state")
    store = Store(state.state_dir / FILE_NAME)
    for text in HOSTILE:  # nobody can have such a name, or set such a key
        store.write("x", text, "config", [Change(key=text, before=text, after=[text])])
    with FakeMediaMtx() as fake:
        fake.publish("x", "a1", query="lang=<b>&voice=<script>")
        fake.publish("<img src=x onerror=window.owned=1>", "b1")
        settings = config.Settings(
            paths=state,
            mediamtx=config.MediaMtx(api_port=fake.port, hls_port=free_port()),
            orchestrator=config.Orchestrator(port=free_port(), poll_interval_s=0.2),
        )
        with RunningOrchestrator(settings, (*FAKE_WORKER, f"says={says}")) as running:
            running.wait_state("x", "running")
            answer = running.http.put("/v1/streams/x/config", json={"glossary": TERMS})
            assert answer.status_code == 200, answer.text
            answer = running.http.put("/v1/streams/x/destinations/main", json={"url": f"{DESTINATION}/KEY"})
            assert answer.status_code == 204, answer.text
            yield running


@pytest.fixture
def page(browser: Browser, orchestrator: RunningOrchestrator) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1366, "height": 900})
    page.set_default_timeout(PATIENCE_MS)
    expect.set_options(timeout=PATIENCE_MS)
    page.add_init_script("window.dialogs = 0; window.alert = window.confirm = window.prompt = () => { dialogs++; };")
    page.goto(orchestrator.settings.orchestrator.url)
    yield page
    page.close()


def test_what_is_said_and_stored_is_text(page: Page) -> None:
    rows = page.locator("tbody tr.fallback")
    expect(rows).to_have_count(len(HOSTILE))
    expect(page.locator("main h2[data-name]")).to_have_count(1)
    for row, text in zip(reversed(rows.all()), HOSTILE, strict=True):
        cells = [cell.text_content() or "" for cell in row.locator("td").all()]
        assert cells[1:3] == [text, text]
        assert text in cells[6]
        row.get_by_role("button").click()
    notes = [more.text_content() or "" for more in page.locator("tr.more").all()]
    for shown, text in zip(reversed(notes), HOSTILE, strict=True):
        assert shown.count(text) >= 2, "a stage and a note"
    told = page.locator("tr.more", has_text="__proto__")
    told.get_by_role("button", name="hear what went out").click()
    expect(told.get_by_role("status")).to_have_text("there is no phrase '__proto__'")
    expect(page.locator("[data-message]")).to_contain_text(" ".join(MARKUP))
    glossary = page.get_by_role("textbox", name="A line for each")
    expect(glossary).to_have_value("\n".join(term["source"] for term in TERMS))
    expect(page.locator("[data-destinations] li")).to_contain_text(DESTINATION)
    page.get_by_text("Who changed what").click()
    expect(page.locator(".audit strong")).to_have_count(len(HOSTILE) + 2)
    said_by = [one.text_content() for one in page.locator(".audit strong").all()]
    assert said_by[2:] == HOSTILE[::-1]
    page.get_by_text("The last hour").click()
    expect(page.get_by_role("img", name="Time by stage")).to_have_attribute("aria-label", re.compile("<img src=x"))
    assert page.evaluate(STICKS_OUT) == []
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate(STICKS_OUT) == []
    is_unharmed(page)


def test_whatever_the_server_says_is_text(page: Page, orchestrator: RunningOrchestrator) -> None:
    """Also in what it never lets in: names of streams and destinations, states, languages."""
    expect(page.locator("[data-destinations] li")).to_be_visible()
    stream = orchestrator.get("/v1/streams/x")
    views = [every_text_as(text, stream) for text in HOSTILE]
    page.evaluate("""views => {
        heard("streams", {streams: views, instanceId: "<b>"});
        for (const view of views) for (const phrase of view.phrases) cards.get(view.streamId).add(phrase);
    }""", views)  # fmt: skip
    named = page.evaluate("[...document.querySelectorAll('main h2')].map(one => one.textContent)")
    assert set(HOSTILE) <= set(named)
    for width in (1366, 390):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate(STICKS_OUT) == []
    is_unharmed(page)
