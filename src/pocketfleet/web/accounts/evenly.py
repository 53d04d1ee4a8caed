"""Answers that take equally long, whether or not there is an account with the address that was given."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import wraps

from django.http import HttpRequest
from django.http.response import HttpResponseBase

View = Callable[..., HttpResponseBase]
#: Seconds that such a form takes at least. What differs (a lookup, a row, a mail written down) is far below.
FLOOR = 0.5


def evenly(view: View) -> View:
    """Answer a form no sooner than `FLOOR` seconds after it came. Its thread waits, nobody else does."""

    @wraps(view)
    def slowed(request: HttpRequest, *args: object, **kwargs: object) -> HttpResponseBase:
        began = time.monotonic()
        response = view(request, *args, **kwargs)
        if request.method == "POST":
            time.sleep(max(0.0, began + FLOOR - time.monotonic()))
        return response

    return slowed
