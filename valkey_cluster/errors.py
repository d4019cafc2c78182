"""Everything that can be wrong with what valkey_cluster is given.

ValkeeperError
├── QuantityError   a text that is no Kubernetes quantity
└── SpecError       a spec that cannot be taken; carries every problem found
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Problem:
    """One thing that is wrong with a resource, for the person who wrote it."""

    field: str
    """Path in the resource's own spelling, such as `spec.persistence.size`."""
    sentence: str
    """What is wrong and what to do."""

    def __str__(self) -> str:
        return f"{self.field}: {self.sentence}"


class ValkeeperError(Exception):
    """Root of what valkey_cluster raises."""


class QuantityError(ValkeeperError, ValueError):
    """A text is not a Kubernetes quantity."""


class SpecError(ValkeeperError):
    """A spec is refused. Its text names all problems; `problems` holds them one by one."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        self.problems = problems
        if len(problems) == 1:
            super().__init__(str(problems[0]))
        else:
            super().__init__("\n- ".join([f"{len(problems)} problems:", *map(str, problems)]))
