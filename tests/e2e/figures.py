"""Measured values against what was promised: each is recorded, shown at the end, and has a limit."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

FIGURES: list[str] = []
"""What the terminal shows at the end of the session."""

SLACK = float(os.environ.get("VALKEEPER_E2E_SLACK", "3"))
"""A busy machine may take this much longer before a test fails; 1 holds it to the promise."""


@dataclass(frozen=True)
class Figures:
    """The figures of one test."""

    test: str
    record: Callable[[str, object], None]

    def at_most(self, what: str, value: float, promised: float, unit: str = "s") -> None:
        """Record the value; fail when it is more than the promise with the slack.

        Args:
            what: what was measured.
            value: in `unit`.
            promised: the product's own limit.
            unit: seconds unless said.
        """
        text = self.note(what, value, promised, unit)
        assert value <= promised * SLACK, f"{what}: {text}"

    def note(self, what: str, value: float, promised: float, unit: str = "s") -> str:
        """Record the value and fail never: of gaps of milliseconds a busy machine's own stalls are the most.

        Returns:
            what the terminal shows of it.
        """
        kept = "" if value <= promised else "  MORE THAN PROMISED"
        text = f"{value:.2f} {unit} (promised: {promised:g} {unit}){kept}"
        self.record(what, text)
        FIGURES.append(f"{what}: {text}")
        return text
