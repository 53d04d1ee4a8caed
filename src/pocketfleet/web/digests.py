"""By what a page that looks again tells whether anything is other than the browser shows it."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder


def digest_of(shown: Any) -> str:
    """16 characters that change when what is shown does; `shown` is what JSON can hold, and times."""
    return hashlib.sha256(json.dumps(shown, cls=DjangoJSONEncoder).encode()).hexdigest()[:16]
