"""Pages in a headless Chromium. Without one these tests are skipped; `make browser` installs it."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
PHONE = {"width": 390, "height": 844}
DESK = {"width": 1280, "height": 900}


def find_chromium() -> str | None:
    """Path of a Chromium: $TURNSTILE_CHROMIUM, or one on PATH."""
    return os.environ.get("TURNSTILE_CHROMIUM") or next((p for n in NAMES if (p := shutil.which(n))), None)


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Open a page at a size. The test fails for an error in the page, or for anything that it asks of a network.

    Screenshots go to $TURNSTILE_SCREENSHOTS, where that is set: `page.shot(NAME)`. The browser starts with the first page
    and ends with the test: while it lives there is a running event loop, in which nothing else can call `asyncio.run`.
    """
    path = find_chromium()
    if path is None:
        pytest.skip("no Chromium on PATH: `make browser` installs one, or set TURNSTILE_CHROMIUM")
    sync = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    problems: list[str] = []
    stack = contextlib.ExitStack()
    browsers: list[Any] = []

    def browser() -> Any:
        if not browsers:
            # --no-sandbox: tests may run as root, where Chromium refuses to start otherwise; the pages are our own.
            arguments = ["--no-sandbox", "--disable-dev-shm-usage"]
            driver = stack.enter_context(sync.sync_playwright())
            browsers.append(driver.chromium.launch(executable_path=path, args=arguments))
            stack.callback(browsers[0].close)
        return browsers[0]

    def open_page(file: Path, size: dict[str, int] = DESK, dark: bool = False) -> Any:
        phone = size["width"] < 500
        context = browser().new_context(
            viewport=size,
            device_scale_factor=2 if phone else 1,
            has_touch=phone,
            is_mobile=phone,
            color_scheme="dark" if dark else "light",
        )
        page = context.new_page()
        page.on("pageerror", lambda e: problems.append(f"error: {e}"))
        page.on("console", lambda m: problems.append(f"console: {m.text}") if m.type == "error" else None)
        page.on("request", lambda r: problems.append(f"network: {r.url}") if r.url.startswith("http") else None)
        page.set_default_timeout(120_000)  # a busy machine is no fault of the page
        page.goto(file.resolve().as_uri())
        folder = Path(os.environ.get("TURNSTILE_SCREENSHOTS") or tmp_path)
        folder.mkdir(parents=True, exist_ok=True)
        page.shot = lambda name: page.screenshot(path=str(folder / f"{name}.png"))
        return page

    with stack:
        yield open_page
    assert problems == []


def fits(page: Any) -> bool:
    """Whether the page needs no horizontal scrolling."""
    return page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
