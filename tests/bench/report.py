"""docs/benchmarks.md: what `tests.bench.operations` measured, between two markers; people write the rest.

Each operation has a section that says on what it was measured, so operations can be measured one by one.
"""

from __future__ import annotations

import os
import platform
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench import figures, plot

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.bench.figures import Run

DOCS = Path(__file__).resolve().parents[2] / "docs"
BEGIN, END = "<!-- operations:begin -->", "<!-- operations:end -->"
INTRODUCTION = """\
## Operations under traffic
Made by `python -m tests.bench.operations --write`; do not edit by hand. 3 shards with 1 replica each. One
writer for each shard follows MOVED and ASK on plain connections, without a client library's retries; at the
end every acknowledged write is read back, and so is everything that was there before.

A gap is the time between the ends of two acknowledged writes of one shard that follow each other; at 40
writes a second for each shard, one that always answers has gaps of 25 ms.
Availability: of the 100 ms of each shard in which a write was under way, the share in which one was
acknowledged. A write that waited for the one before it counts from when it was due. The picture is of the run
with the longest gap.
"""


@dataclass(frozen=True)
class Conditions:
    """What a measurement was made on, and how."""

    command: str
    machine: str
    kubernetes: str
    load: str

    def text(self) -> str:
        """In a paragraph."""
        return f"`{self.command}`. Machine: {self.machine}. Kubernetes {self.kubernetes}. {self.load}."


def machine(proc: Path = Path("/proc"), release: Path = Path("/etc/os-release")) -> str:
    """Cores, memory, distribution and kernel of this machine."""
    kilobytes = int(_found(r"^MemTotal:\s*(\d+)", (proc / "meminfo").read_text()) or 0)
    system = (
        _found(r'^PRETTY_NAME="?([^"\n]*)', release.read_text()) if release.exists() else platform.system()
    )
    cores = len(os.sched_getaffinity(0))
    return f"{cores} cores, {round(kilobytes / 2**20)} GiB, {system}, kernel {platform.release()}"


def section(name: str, says: str, valkey: str, conditions: Conditions, runs: Sequence[Run]) -> str:
    """One operation's part of the page, without an empty line at its end."""
    return "\n".join(
        [
            f"### {name}",
            f"{says} Valkey {valkey}.",
            "",
            figures.table(runs),
            "",
            f"![{name}: writes and the longest gap over time](bench/{name}.svg)",
            "",
            conditions.text(),
        ]
    )


def merged(page: str, fresh: Mapping[str, str], order: Sequence[str]) -> str:
    """The page with these sections in place of those of the same name; others stay, all in this order.

    Markers that are missing are put at the end.
    """
    if BEGIN not in page:
        page = f"{page.rstrip()}\n\n{BEGIN}\n{END}\n"
    before, _, rest = page.partition(BEGIN)
    inside, _, after = rest.partition(END)
    sections = {**_sections(inside), **fresh}
    known = [name for name in order if name in sections]
    others = [name for name in sections if name not in order]
    text = "\n\n".join([INTRODUCTION.rstrip(), *(sections[name] for name in (*known, *others))])
    return f"{before}{BEGIN}\n{text}\n{END}{after}"


def write(fresh: Mapping[str, str], runs: Mapping[str, Sequence[Run]], order: Sequence[str]) -> None:
    """Put sections and pictures into docs/."""
    page = DOCS / "benchmarks.md"
    (DOCS / "bench").mkdir(exist_ok=True)
    for name, measured in runs.items():
        picture = plot.svg(figures.worst(measured).result, name)
        (DOCS / "bench" / f"{name}.svg").write_text(picture)
    page.write_text(merged(page.read_text(), fresh, order))


def _sections(inside: str) -> dict[str, str]:
    found = re.split(r"^### (.+)$", inside, flags=re.MULTILINE)[1:]
    return {name: f"### {name}{text.rstrip()}" for name, text in zip(found[::2], found[1::2], strict=True)}


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text, flags=re.MULTILINE)
    return match[1] if match else ""
