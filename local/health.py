"""Asking one URL whether the program behind it does its work."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl

_TIMEOUT_S = 2.0


def answers(url: str, context: ssl.SSLContext | None = None) -> bool:
    """Whether the URL answers with success within two seconds."""
    try:
        with urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        ).open(url, timeout=_TIMEOUT_S) as answer:
            return bool(answer.status == http.client.OK)
    except (urllib.error.URLError, http.client.HTTPException, OSError):
        return False
