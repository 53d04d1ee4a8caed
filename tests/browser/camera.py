"""Pictures of pages for people to look at, in artifacts/screenshots/: each wide in the light and narrow in the dark."""

from __future__ import annotations

import itertools
import os
from typing import Literal

from playwright.sync_api import Page, ViewportSize

from tests.browser.conftest import SCREENSHOTS

Scheme = Literal["light", "dark"]

SIZES: dict[str, ViewportSize] = {"wide": {"width": 1280, "height": 860}, "narrow": {"width": 390, "height": 844}}
SCHEMES: tuple[Scheme, ...] = ("light", "dark")
#: The two others say little more and take as long: POCKETFLEET_TEST_SCREENSHOTS=all.
LOOKS: list[tuple[str, Scheme]] = [("wide", "light"), ("narrow", "dark")]
if os.environ.get("POCKETFLEET_TEST_SCREENSHOTS") == "all":
    LOOKS = list(itertools.product(SIZES, SCHEMES))


def picture(page: Page, name: str, *, whole: bool = True) -> None:
    """The page as it stands, and whether it is too wide for any width. `whole`: beyond what a screen shows, too."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    if whole:
        page.evaluate("document.activeElement?.blur()")
    for size, viewport in SIZES.items():
        page.set_viewport_size(viewport)
        too_wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert too_wide <= 0, f"{name} is {too_wide} pixels too wide for {size}"
        for scheme in (scheme for wanted, scheme in LOOKS if wanted == size):
            page.emulate_media(color_scheme=scheme)
            path = SCREENSHOTS / f"{name}-{size}-{scheme}.png"
            page.screenshot(path=path, full_page=whole, caret="initial")
