"""Pulumi updates of clusters' stacks, by the Automation API, with the real CLI and provider.

Each update is one CLI process. With the embedded backend the stack's state lives in a folder of this pod
only while an update runs: it is laid there from the cluster's Secret before, and written through to it
after. So no lock and no pending operation of a daemon that died can be in the way. With a backend of the
user's own (PULUMI_BACKEND_URL) both can be, and are cleared first: the Lease makes us the only writer.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pulumi import automation
from pulumi.automation._stack import StackInitMode  # the only name of it that a subclass can use

from daemon import metrics
from daemon.errors import UpdateCut, UpdateFailed
from daemon.pulumi_cli import Cli
from daemon.state import Preview, Record, StateStore, Target
from stacks.cluster import PROJECT, program
from valkey_cluster import names
from valkey_cluster.component import shard_urn
from valkey_cluster.stage import Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from valkey_cluster.resources import Identity

_ENVIRONMENT = {
    "PULUMI_SKIP_UPDATE_CHECK": "true",
    "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
    "PULUMI_DIY_BACKEND_DISABLE_CHECKPOINT_BACKUPS": "true",
    "PULUMI_DIY_BACKEND_NO_LEGACY_WARNING": "true",
    "PULUMI_FALLBACK_TO_STATE_SECRETS_MANAGER": "true",
    "PULUMI_CREDENTIAL_STORE": "plaintext",
    "PULUMI_DISABLE_CI_DETECTION": "true",
    # The folder that they would be written to ends with this update; what is left of one that was cut is
    # the stage noted in the Secret, and creates can be repeated.
    "PULUMI_SKIP_CHECKPOINTS": "true",
    # No secret enters a state (docs/decisions/0003), so there is nothing to encrypt.
    "PULUMI_CONFIG_PASSPHRASE": "",
}


@dataclass(frozen=True)
class PulumiSettings:
    """Where updates run.

    Attributes:
        root: folder of this process for work dirs, state under way and the CLI's home; emptied at start.
        backend_url: the user's own backend; empty for the embedded one.
        parallel: updates that may run at the same time.
        environment: further variables of the CLI and the provider, such as KUBECONFIG.
    """

    root: Path
    backend_url: str = ""
    parallel: int = 2
    environment: Mapping[str, str] = field(default_factory=dict)


class _Stack(automation.Stack):
    """A stack whose update is one process: what changed is read from the event stream instead."""

    def outputs(self) -> automation.OutputMap:
        return {}

    def info(self, show_secrets: bool | None = None) -> automation.UpdateSummary:
        del show_secrets
        return automation.UpdateSummary("update", datetime.now(UTC), "", {}, {}, "succeeded")


class _EmbeddedWorkspace(automation.LocalWorkspace):
    """Its only stack is the one whose state was laid into its backend folder: nothing to select."""

    def select_stack(self, stack_name: str) -> None:
        del stack_name


@dataclass(frozen=True)
class _Update:
    """One run of the CLI over a stack."""

    operation: str
    identity: Identity
    record: Record
    stage: Stage
    run: Callable[[_Stack], None]


_Outcome = tuple[bytes | None, float, UpdateFailed | None]
"""The checkpoint after it, the seconds it took, and why it failed."""


class Provisioner:
    """Runs updates, each in a thread, a few at a time; one at a time per cluster is the caller's duty."""

    def __init__(self, settings: PulumiSettings, store: StateStore) -> None:
        self._settings = settings
        self._store = store
        self._cli = Cli()
        self._slots = asyncio.Semaphore(settings.parallel)
        shutil.rmtree(settings.root, ignore_errors=True)
        (settings.root / "home").mkdir(parents=True)

    async def up(self, identity: Identity, target: Target, *, refresh: bool) -> float:
        """Bring the cluster's objects to the target's stage; seconds that the update itself took.

        Raises:
            UpdateFailed: Pulumi said no; what it had done is kept in the state.
            UpdateCut: `interrupt` was called; the next daemon runs the update again.
        """
        record = await self._store.begin(identity, target)
        gone = _shards_gone(record.applied, target)

        def run(stack: _Stack) -> None:
            if gone:
                self._unprotect(stack, gone)
            stack.up(refresh=refresh, show_secrets=False, color="never", suppress_outputs=True)

        checkpoint, seconds, failure = await self._run(_Update("up", identity, record, target.stage, run))
        if failure is not None:
            # Nothing of a first update is known to be there, but what is has to be destroyed one day.
            before = record.applied or Target(Stage(()), target.spec)
            await self._store.save(identity, Record(checkpoint, before, unfinished=None))
            raise failure
        await self._store.save(identity, Record(checkpoint, applied=target, unfinished=None))
        return seconds

    async def preview(self, identity: Identity, target: Target) -> None:
        """Keep beside the cluster what an update to the target would change, by Pulumi's own diff.

        Raises:
            UpdateFailed: Pulumi could not tell.
        """
        record = await self._store.load(identity)
        told: list[str] = []

        def run(stack: _Stack) -> None:
            stack.preview(
                on_event=lambda event: told.extend(difference(event)), color="never", suppress_outputs=True
            )

        _, _, failure = await self._run(_Update("preview", identity, record, target.stage, run))
        if failure is not None:
            raise failure
        await self._store.save(identity, replace(record, preview=Preview(target.stage.hash, tuple(told))))

    async def destroy(self, identity: Identity) -> float:
        """Delete the cluster's objects and its state; seconds that the update itself took."""
        record = await self._store.load(identity)

        def run(stack: _Stack) -> None:
            self._state(stack, "unprotect", "--all")
            stack.destroy(show_secrets=False, color="never", suppress_outputs=True)
            if self._settings.backend_url:
                stack.workspace.remove_stack(stack.name)

        checkpoint, seconds, failure = await self._run(_Update("destroy", identity, record, Stage(()), run))
        if failure is not None:
            await self._store.save(identity, Record(checkpoint, record.applied, record.unfinished))
            raise failure
        await self._store.drop(identity)
        shutil.rmtree(self._folder(identity), ignore_errors=True)
        return seconds

    def _unprotect(self, stack: _Stack, stateful_sets: Iterable[str]) -> None:
        """Let this update remove the shards that the target has not; all others stay protected."""
        deployment = stack.export_stack().deployment or {}
        held = {resource["urn"] for resource in deployment.get("resources", [])}
        urns = [shard_urn(stack.name, PROJECT, name) for name in stateful_sets]
        going = [urn for urn in urns if urn in held]
        if going:
            self._state(stack, "unprotect", *going)

    def _state(self, stack: _Stack, *words: str) -> None:
        command = ["state", *words, "--yes", "--stack", stack.name]
        self._cli.run(command, stack.workspace.work_dir, stack.workspace.env_vars)

    def interrupt(self) -> None:
        """End running updates in order and start no more: another daemon may be the writer now."""
        self._cli.interrupt()

    def resume(self) -> None:
        """Updates may run again: we are the writer."""
        self._cli.cut = False
        self._store.forget()

    async def _run(self, update: _Update) -> _Outcome:
        async with self._slots:
            checkpoint, seconds, failure = await asyncio.to_thread(self._run_here, update)
        outcome = "failed" if failure else "succeeded"
        metrics.UPDATE_SECONDS.labels(update.operation, outcome).observe(seconds)
        return checkpoint, seconds, failure

    def _run_here(self, update: _Update) -> _Outcome:
        """In a thread: state in, update, state out."""
        if self._cli.cut:
            raise UpdateCut("the daemon does not write any more")
        started = time.monotonic()
        failure = None
        try:
            update.run(self._stack(update.identity, update.record, update.stage))
        except automation.CommandError as error:
            if self._cli.cut:
                raise UpdateCut("the update was interrupted") from error
            failure = UpdateFailed(reason(str(error)))
        return self._checkpoint(update.identity), time.monotonic() - started, failure

    def _stack(self, identity: Identity, record: Record, stage: Stage) -> _Stack:
        name = names.stack(identity.namespace, identity.name)
        folder = self._folder(identity)
        url = self._settings.backend_url or f"file://{folder}"
        kind: type[automation.LocalWorkspace] = automation.LocalWorkspace
        if not self._settings.backend_url:
            kind = _EmbeddedWorkspace
            lay_state(folder, name, record.checkpoint)
        (folder / "work").mkdir(parents=True, exist_ok=True)
        workspace = kind(
            work_dir=str(folder / "work"),
            pulumi_home=str(self._settings.root / "home"),
            program=program(identity.name, stage),
            pulumi_command=self._cli,
            project_settings=automation.ProjectSettings(
                name=PROJECT, runtime="python", backend=automation.ProjectBackend(url)
            ),
            env_vars={**_ENVIRONMENT, "PULUMI_BACKEND_URL": url, **self._settings.environment},
        )
        stack = _Stack(name, workspace, StackInitMode.CREATE_OR_SELECT)
        if self._settings.backend_url:
            clear_leftovers(stack)
        return stack

    def _folder(self, identity: Identity) -> Path:
        return self._settings.root / names.stack(identity.namespace, identity.name)

    def _checkpoint(self, identity: Identity) -> bytes | None:
        if self._settings.backend_url:
            return None
        path = state_file(self._folder(identity), names.stack(identity.namespace, identity.name))
        return path.read_bytes()


def _shards_gone(applied: Target | None, target: Target) -> list[str]:
    """StatefulSets that were applied and that the target has not."""
    before = applied.stage.by_key if applied else {}
    gone = before.keys() - target.stage.by_key.keys()
    return sorted(name for kind, name in gone if kind == "StatefulSet")


def difference(event: automation.EngineEvent) -> list[str]:
    """What the event says of an object that would change: `update StatefulSet/orders-0: spec.template...`."""
    if event.resource_pre_event is None or event.resource_pre_event.metadata.op == automation.OpType.SAME:
        return []
    metadata = event.resource_pre_event.metadata
    fields = ", ".join(sorted(metadata.detailed_diff or {}) or metadata.diffs or [])
    line = f"{metadata.op.value} {metadata.urn.rpartition('::')[2]}"
    return [f"{line}: {fields}" if fields else line]


def state_file(folder: Path, stack: str) -> Path:
    """Where a file backend in `folder` keeps the stack."""
    return folder / ".pulumi" / "stacks" / PROJECT / f"{stack}.json"


def lay_state(folder: Path, stack: str, checkpoint: bytes | None) -> None:
    """Make `folder` a file backend with just this stack: no locks, no history, no leftovers."""
    shutil.rmtree(folder / ".pulumi", ignore_errors=True)
    path = state_file(folder, stack)
    path.parent.mkdir(parents=True)
    (folder / ".pulumi" / "meta.yaml").write_text("version: 1\n")
    empty = {"version": 3, "checkpoint": {"stack": f"organization/{PROJECT}/{stack}"}}
    path.write_bytes(checkpoint if checkpoint is not None else json.dumps(empty).encode())


def clear_leftovers(stack: automation.Stack) -> None:
    """Drop the lock and the pending operations of a daemon that died in an update.

    Right only because the Lease is held: nobody else can be in an update of this stack. Creates are
    server-side applies, so running them again is harmless.
    """
    stack.cancel()
    kept = stack.export_stack()
    if kept.deployment and kept.deployment.get("pending_operations"):
        cleared = {**kept.deployment, "pending_operations": []}
        stack.import_stack(automation.Deployment(version=kept.version, deployment=cleared))


def reason(text: str) -> str:
    """The error of a CLI run in one line: what follows its `error:` marks, each once."""
    lines = [line.strip() for line in text.splitlines()]
    found = [line.partition("error:")[2].strip() for line in lines if "error:" in line]
    told = [line for line in dict.fromkeys(found) if line and not line.startswith(_NOISE)]
    return "; ".join(told)[:1000] or text.strip()[-1000:]


_NOISE = ("update failed", "preview failed", "resource registration")
