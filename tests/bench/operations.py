"""What a cluster goes through, measured under traffic: `python -m tests.bench.operations`.

For each operation and run: a new cluster of 3 shards with a replica each in namespace `valkey`, which the
daemon installed there makes; keys in it; writers; the operation; everything read back; the cluster removed.
Needs KUBECONFIG, or the local Kubernetes with `make up` done.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import os
import shlex
import sys
import time
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING

from daemon.kube.client import LightkubeApi, config_from_env
from local import paths
from tests.bench import bulk, report
from tests.bench.catalogue import SMALL, memory, operations, versions
from tests.bench.figures import Run, table
from tests.bench.members import Members
from tests.bench.subject import SHARDS, Subject, kubernetes_version
from tests.bench.traffic import Traffic

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.bench.catalogue import Operation
    from tests.bench.subject import Pod

BEFORE_S = AFTER_S = 1.0
"""Traffic before an operation begins and after it is done."""
KEYS, KEY_BYTES = 20_000, 256


@dataclass(frozen=True)
class Bench:
    """How each run is made."""

    api: LightkubeApi
    newer: str
    keys: int = KEYS
    rate: float = 40.0

    async def runs(self, operation: Operation, count: int) -> list[Run]:
        """One after the other, each on a cluster of its own, which is removed also when it fails."""
        found = []
        for number in range(count):
            subject = Subject(self.api, f"bench-{operation.name}-{number}")
            try:
                await subject.make({"version": self.newer, **memory(SMALL), **operation.spec})
                found.append(await self.run(operation, subject))
            finally:
                await subject.remove()
            print(f"--- {subject.name}: {found[-1].seconds:.1f} s\n{found[-1].result.table()}", flush=True)
        return found

    async def run(self, operation: Operation, subject: Subject) -> Run:
        """One run on a cluster that is Ready."""
        count = self.keys if operation.keys is None else operation.keys
        filled = {f"before:{number}": f"{number}.".ljust(KEY_BYTES, "x") for number in range(count)}
        members = Members(subject.addresses)
        await members.find()
        await bulk.run(members, {key: ("SET", key, value) for key, value in filled.items()})
        seen = await operation.prepare(subject)
        shards = operation.spec.get("shards", SHARDS)
        async with Traffic(subject.addresses, shards=shards, rate=self.rate) as traffic:
            await asyncio.sleep(BEFORE_S)
            traffic.mark("begins")
            began = time.monotonic()
            await operation.run(subject, seen)
            await subject.until(lambda: operation.done(subject, seen), f"{operation.name} in effect")
            effect_s = time.monotonic() - began
            await subject.until(subject.is_settled, f"{operation.name} done")
            seconds = time.monotonic() - began
            traffic.mark("done")
            await asyncio.sleep(AFTER_S)
        result = await traffic.stop()
        left = await bulk.run(traffic.members, {key: ("GET", key) for key in filled})
        pods = await subject.pods()
        return Run(
            effect_s=effect_s,
            seconds=seconds,
            restarts=restarts(seen.pods, pods),
            replaced=sum(name not in pods or pods[name].uid != pod.uid for name, pod in seen.pods.items()),
            lost=len(result.lost) + sum(left[key] != value.encode() for key, value in filled.items()),
            result=result,
        )


def restarts(before: Mapping[str, Pod], after: Mapping[str, Pod]) -> int:
    """Containers started again in pods that are still the same."""
    stayed = [name for name, pod in before.items() if name in after and after[name].uid == pod.uid]
    return sum(after[name].restarts - before[name].restarts for name in stayed)


async def measure(chosen: Sequence[Operation], bench: Bench, count: int) -> dict[str, list[Run]]:
    """The runs of each operation; one that fails is told and left out, and the next is measured."""
    measured: dict[str, list[Run]] = {}
    for operation in chosen:
        print(f"=== {operation.name}: {operation.says}", flush=True)
        try:
            measured[operation.name] = await bench.runs(operation, count)
        except Exception:  # noqa: BLE001  whatever went wrong with one says nothing of the others
            traceback.print_exc()
            continue
        print(f"{table(measured[operation.name])}\n", flush=True)
    return measured


def go_first() -> None:
    """This process is not held up by those that it measures: no collection of garbage, and the CPU first.

    Without, it stood still for 86 to 138 ms in each of four rolls on two cores, and counted that as a gap.
    """
    gc.freeze()
    gc.disable()
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))


async def main() -> int:
    """Measure, print tables, and write them to the page when asked; 1 when something failed or was lost."""
    go_first()
    older, newer = versions()
    every = operations(older, newer)
    names = [operation.name for operation in every]
    arguments = _arguments(names)
    chosen = [operation for operation in every if operation.name in (arguments.only or names)]
    api = LightkubeApi(config_from_env())
    try:
        conditions = report.Conditions(
            command=shlex.join(["python", "-m", "tests.bench.operations", *sys.argv[1:]]),
            machine=report.machine(),
            kubernetes=await kubernetes_version(api),
            load="Load of the machine before: {:.1f}, {:.1f}, {:.1f}".format(*os.getloadavg()),
        )
        measured = await measure(chosen, Bench(api, newer, arguments.keys, arguments.rate), arguments.runs)
    finally:
        await api.close()
    if arguments.write:
        fresh = {
            one.name: report.section(one.name, one.says, newer, conditions, measured[one.name])
            for one in chosen
            if one.name in measured
        }
        report.write(fresh, measured, names)
    lost = sum(run.lost for runs in measured.values() for run in runs)
    return 1 if lost or len(measured) < len(chosen) else 0


def _arguments(names: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--only", action="append", choices=names, help="can be given several times")
    parser.add_argument("--keys", type=int, default=KEYS, help=f"of {KEY_BYTES} bytes, there before")
    parser.add_argument("--rate", type=float, default=40.0, help="writes per second for each shard")
    parser.add_argument("--write", action="store_true", help="into docs/benchmarks.md and docs/bench/")
    return parser.parse_args()


if __name__ == "__main__":
    if "KUBECONFIG" not in os.environ and paths.KUBECONFIG.exists():
        os.environ["KUBECONFIG"] = str(paths.KUBECONFIG)
    sys.exit(asyncio.run(main()))
