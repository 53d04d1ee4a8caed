"""Every page is tried by axe, in both themes and widths: whether people can use it who do not see, or use no mouse; and
whether anything on it jumps while it comes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from pocketfleet.models import Operation
from tests.browser.conftest import OpenPage
from tests.browser.test_screenshots import furnish, snapshot_id
from tests.browser.test_teams import bakery
from tests.integration.web.served import Served, make_instance
from tests.integration.web.test_versions import rehearsed
from tests.reports import NAMES

#: axe's own names for what WCAG asks up to AA, for best practice, and that what is read aloud is what is seen.
NAMED = {"label-content-name-mismatch": {"enabled": True}}
RULES = {"rules": NAMED, "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
#: What depends on colours and widths; the rest is the same in both, and axe takes most of its time for it.
SEEN = ("color-contrast", "link-in-text-block", "target-size", "scrollable-region-focusable", "meta-viewport")
SEEN_RULES = {"runOnly": {"type": "rule", "values": [*SEEN, *NAMED]}}

#: Adds up what has moved without anybody's doing, as the browser's own measure of it (Layout Instability).
SHIFTS = """
window.shifted = 0;
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shifted += entry.value;
}).observe({type: "layout-shift", buffered: true});
"""
#: What nobody notices; the field calls a page good up to 0.1.
MOST_SHIFTED = 0.01


def addresses() -> Iterator[str]:
    """One of each kind of page, with something on it."""
    yield from ("", "new", "import", "releases", "tokens", "account", "account/sessions", "account/password")
    yield from ("account/second-factor/app", "account/passkeys/add", "account/address", "account/delete")
    for name in ("shop", "legacy-crm", "spam-trap"):
        yield f"instances/{name}"
    for tab in ("versions", "backups", f"restore?snapshot={snapshot_id()}", "logs", "events", "secrets", "settings"):
        yield f"instances/shop/{tab}"
    yield "instances/shop/danger"
    yield f"instances/bakery/operations/{Operation.objects.get(kind='create', instance__name='bakery').id}"
    upgraded = make_instance("to-upgrade", release="0.36.9")
    yield from (f"instances/{upgraded.name}/rehearsals/{rehearsed(upgraded, name).id}" for name in NAMES)
    yield f"instances/{upgraded.name}/versions"
    yield from ("operator", "operator/accounts", "operator/invitations", "operator/mail", "operator/instances")
    yield from ("operator/teams", "operator/audit", "operator/addresses", "nothing-here")


def complaints(page: Page, rules: dict[str, Any] = RULES) -> list[str]:
    """What axe finds, and where; and whether anything jumped."""
    found: list[dict[str, Any]] = Axe().run(page, options=rules).response["violations"]
    said = [f"{each['id']}: {node['html'][:160]}" for each in found for node in each["nodes"]]
    shifted = float(page.evaluate("window.shifted ?? 0"))
    return said if shifted <= MOST_SHIFTED else [*said, f"its parts jump while it comes: {shifted:.3f}"]


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("scheme", "width", "rules"), [("light", 1280, RULES), ("dark", 390, SEEN_RULES)])
def test_axe_finds_nothing_and_nothing_jumps(
    served: Served, open_page: OpenPage, scheme: str, width: int, rules: dict[str, Any]
) -> None:
    page = open_page(color_scheme=scheme, viewport={"width": width, "height": 800})
    page.add_init_script(SHIFTS)
    furnish(served.config)
    found: dict[str, list[str]] = {}
    for address in addresses():
        page.goto(f"{served.config.public_url}/{address}", wait_until="domcontentloaded")
        if said := complaints(page, rules):
            found[address] = said
    assert found == {}, "\n".join(f"/{address}\n    " + "\n    ".join(said) for address, said in found.items())


def test_axe_finds_nothing_in_a_team_and_before_one_is_in(served: Served, open_page: OpenPage) -> None:
    page = open_page()
    team = bakery()
    found: dict[str, list[str]] = {}
    for address in (f"teams/{team.id}", "teams", f"teams/{team.id}/audit"):
        page.goto(f"{served.config.public_url}/{address}", wait_until="domcontentloaded")
        if said := complaints(page):
            found[address] = said
    page.click("text=Sign out")
    page.wait_for_url("**/account/sign-in*")
    for address in ("account/sign-in", "account/password/reset", "account/sign-up", "sign-in/nonsense"):
        page.goto(f"{served.config.public_url}/{address}", wait_until="domcontentloaded")
        if said := complaints(page):
            found[address] = said
    assert found == {}, found
