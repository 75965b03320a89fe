"""What axe-core finds wrong with a page."""

from __future__ import annotations

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

GRAVE = {"serious", "critical"}


def barriers(page: Page) -> list[str]:
    """One line for each element that somebody cannot read, find or use."""
    found = Axe().run(page).response["violations"]
    return [
        f"{rule['id']}: {node['html'][:160]}: {node['failureSummary'].splitlines()[-1].strip()}"
        for rule in found
        if rule["impact"] in GRAVE
        for node in rule["nodes"]
    ]
