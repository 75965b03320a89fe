"""Debian's Chromium, and what every page of every test is listened to for: errors, and requests to somebody else."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Request, WebError, sync_playwright


@dataclass
class Overheard:
    complaints: list[str] = field(default_factory=list)
    """What the browser or the page wrote into the console as an error, and what nobody caught."""
    astray: list[str] = field(default_factory=list)
    """URLs that a page asked for at another server than its own."""

    def listen(self, context: BrowserContext) -> None:
        context.on("console", self._said)
        context.on("weberror", self._uncaught)
        context.on("request", self._asked)

    def _said(self, said: ConsoleMessage) -> None:
        if said.type == "error":
            self.complaints.append(f"{said.text} ({said.location.get('url', '')})")

    def _uncaught(self, error: WebError) -> None:
        self.complaints.append(str(error.error))

    def _asked(self, request: Request) -> None:
        if "://" not in request.url or request.url.startswith("blob:") or request.is_navigation_request():
            return
        if urlsplit(request.url)[:2] != urlsplit(request.frame.url)[:2]:
            self.astray.append(request.url)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        # Root has no sandbox; what is shown is our own page.
        started = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module", autouse=True)
def overheard(browser: Browser) -> Overheard:
    """Of all pages that the browser opens from here on."""
    heard = Overheard()

    def listened_to(open_page: Callable[..., Any]) -> Callable[..., Any]:
        def opened(**options: Any) -> Any:
            page = open_page(**options)
            heard.listen(page.context)
            return page

        return opened

    browser.new_page = listened_to(browser.new_page)  # type: ignore[method-assign]
    return heard


@pytest.fixture(autouse=True)
def nothing_went_wrong_on_the_page(request: pytest.FixtureRequest, overheard: Overheard) -> Iterator[None]:
    """A test that breaks something names what the browser then says by itself: @pytest.mark.complains("regex", ...)."""
    yield
    expected = [pattern for marker in request.node.iter_markers("complains") for pattern in marker.args]
    said, astray = list(overheard.complaints), list(overheard.astray)
    overheard.complaints.clear()
    overheard.astray.clear()
    assert [one for one in said if not any(re.search(pattern, one) for pattern in expected)] == []
    assert astray == []
