"""What a browser asks for on behalf of somebody else's page: such a page may lead here, and nothing more.

Instances are of the same site as the dashboard, so their pages' requests carry its cookie (SameSite does not count
between them). Browsers say in Sec-Fetch-... who made them ask; pages can neither set these headers nor take them off.
"""

from __future__ import annotations

from collections.abc import Mapping

#: The dashboard's own page, or no page: an address that somebody typed, a bookmark, a program.
_OURS = ("same-origin", "none")


def led_from_elsewhere(headers: Mapping[str, str]) -> bool:
    """Whether another site's or an instance's page, or a mail read in a browser, made the browser come."""
    return headers.get("sec-fetch-site", "none") not in _OURS


def only_for_another_page(method: str, headers: Mapping[str, str]) -> bool:
    """Whether it is an image, script, frame, fetch, form or anything else of a page that is not ours.

    Headers' names are in small letters, or found whatever their case. Who sends a token is no browser's cookie.
    """
    if not led_from_elsewhere(headers) or "authorization" in headers:
        return False
    goes_here = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
    return not (goes_here and method in ("GET", "HEAD"))
