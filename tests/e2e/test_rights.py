"""The rights that the environment grants are those that the daemon needs: none is missing, none too much.

Runs last: it reads in the audit log what all other tests made the daemons do.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from stacks import rights
from tests.e2e import audit

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.e2e.audit import Request
    from tests.e2e.installation import Installation

pytestmark = pytest.mark.e2e

CREATED = 201
FORBIDDEN = 403

_OWN = ("backend", "crash", "outage", "resize", "roll", "upgrade")
"""Modules whose daemons run as processes, each under an account of its own."""

NOT_USED_HERE: dict[tuple[str, str, str], str] = {}
"""Rights that no test makes the daemon use, each with the reason why it has them."""


def daemons() -> list[str]:
    return [audit.account("valkeeper-e2e"), *(audit.account(f"e2e-{module}") for module in _OWN)]


def granted(rules: Iterable[rights.Rule]) -> set[tuple[str, str, str]]:
    return {
        (group, resource, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def test_no_right_is_missing(installed: Installation, session_start: str):
    """An API server that has just started denies what it grants a second later: that is no lack."""
    requests = [one for user in daemons() for one in audit.requests(user, session_start)]
    assert requests
    denied = {asked(one) for one in requests if one.code == FORBIDDEN}
    assert denied - {asked(one) for one in requests if one.code != FORBIDDEN} == set()


def asked(request: Request) -> tuple[str, ...]:
    return request.user, request.verb, request.group, request.resource, request.namespace


def test_every_right_was_used(request: pytest.FixtureRequest, installed: Installation, session_start: str):
    ran = {item.path.name for item in request.session.items}
    absent = {file.name for file in Path(__file__).parent.glob("test_*.py")} - ran
    if absent:
        pytest.skip(f"only the whole suite uses every right; without {', '.join(sorted(absent))} it does not")
    allowed = [
        one for user in daemons() for one in audit.requests(user, session_start) if one.code != FORBIDDEN
    ]
    used = {(one.group, one.resource, one.verb) for one in allowed}
    # An apply of what is not there yet is a patch that needs the right to create.
    used |= {(one.group, one.resource, "create") for one in allowed if one.code == CREATED}
    everything = granted((*rights.NAMESPACED, *rights.CLUSTER_WIDE, *rights.OWN))
    assert everything - used == set(NOT_USED_HERE)
