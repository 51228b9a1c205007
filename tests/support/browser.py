"""A real browser without a window: Chromium by Playwright."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, sync_playwright

_NAMES = ("chromium", "chromium-browser", "google-chrome")


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start the system's Chromium; it ends with the block."""
    found = next(filter(None, map(shutil.which, _NAMES)), None)
    assert found, "no Chromium; `make setup` installs it where it may"
    with sync_playwright() as playwright:
        # The sandbox needs rights that root and containers do not have; every page is our own.
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()
