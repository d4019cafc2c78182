"""The parts of an update that need no Pulumi: its state's folder, its leftovers, its process, its errors."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from pulumi import automation

from daemon.errors import UpdateCut
from daemon.provision import clear_leftovers, lay_state, reason, state_file
from daemon.pulumi_cli import Cli

if TYPE_CHECKING:
    from pathlib import Path

STACK = "shop.orders"


def test_a_new_stack_is_laid_as_an_empty_one(tmp_path: Path) -> None:
    lay_state(tmp_path, STACK, None)
    state = json.loads(state_file(tmp_path, STACK).read_bytes())
    assert state == {"version": 3, "checkpoint": {"stack": "organization/valkeeper/shop.orders"}}
    assert (tmp_path / ".pulumi" / "meta.yaml").read_text() == "version: 1\n"


def test_a_known_stack_is_laid_as_it_was_without_locks_or_history(tmp_path: Path) -> None:
    for leftover in ("locks/organization/valkeeper", "history/valkeeper"):
        (tmp_path / ".pulumi" / leftover).mkdir(parents=True)
        (tmp_path / ".pulumi" / leftover / "x.json").write_text("{}")
    lay_state(tmp_path, STACK, b"the checkpoint")
    assert state_file(tmp_path, STACK).read_bytes() == b"the checkpoint"
    files = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert files == {".pulumi/meta.yaml", ".pulumi/stacks/valkeeper/shop.orders.json"}


class Stack:
    """A stack in a backend of the user's own."""

    def __init__(self, deployment: dict[str, Any] | None) -> None:
        self.deployment = deployment
        self.unlocked = False
        self.imported: list[automation.Deployment] = []

    def cancel(self) -> None:
        self.unlocked = True

    def export_stack(self) -> Any:
        return SimpleNamespace(version=3, deployment=self.deployment)

    def import_stack(self, state: automation.Deployment) -> None:
        self.imported.append(state)


def test_pending_operations_are_dropped_and_resources_are_kept() -> None:
    stack = Stack({"resources": [{"urn": "u"}], "pending_operations": [{"type": "creating"}]})
    clear_leftovers(stack)  # type: ignore[arg-type]
    (state,) = stack.imported
    assert (state.version, state.deployment) == (3, {"resources": [{"urn": "u"}], "pending_operations": []})
    assert stack.unlocked


@pytest.mark.parametrize("deployment", [None, {}, {"resources": []}, {"pending_operations": []}])
def test_without_pending_operations_nothing_is_imported(deployment: dict[str, Any] | None) -> None:
    stack = Stack(deployment)
    clear_leftovers(stack)  # type: ignore[arg-type]
    assert stack.unlocked
    assert not stack.imported


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("error: update failed\n  error: services is forbidden", "services is forbidden"),
        ("x\nerror: a\nerror: b\nerror: a\n", "a; b"),
        ("  nothing of the kind  ", "nothing of the kind"),
        ("error: update failed", "error: update failed"),
        ("error: " + "x" * 5000, "x" * 1000),
    ],
    ids=["noise", "each once", "no mark", "only noise", "long"],
)
def test_the_reason_of_a_failure_is_one_line(text: str, told: str) -> None:
    assert reason(text) == told


@pytest.fixture(autouse=True)
def _on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")


def script(folder: Path, body: str) -> Cli:
    """A CLI that runs `body`, once it has told its version."""
    path = folder / "pulumi"
    path.write_text(f'#!/bin/bash\n[ "$1" = version ] && echo v3.259.0 && exit\n{body}\n')
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return Cli()


def test_the_cli_is_run_with_its_arguments_and_environment(tmp_path: Path) -> None:
    result = script(tmp_path, 'echo "$@ $MINE $PULUMI_AUTOMATION_API"').run(
        ["up"], str(tmp_path), {"MINE": "yes"}
    )
    assert (result.stdout, result.code) == ("--non-interactive up yes true\n", 0)


def test_a_failing_cli_is_an_error_with_what_it_said(tmp_path: Path) -> None:
    with pytest.raises(automation.CommandError, match="no such stack"):
        script(tmp_path, "echo 'error: no such stack' >&2; exit 255").run(["up"], str(tmp_path), {})


def test_a_stack_that_is_not_there_yet_is_told_apart(tmp_path: Path) -> None:
    """Or no stack could ever be made in a backend of the user's own."""
    said = "error: no stack named 'ns.demo' found"
    with pytest.raises(automation.StackNotFoundError):
        script(tmp_path, f'echo "{said}" >&2; exit 255').run(["stack", "select"], str(tmp_path), {})


def test_an_interrupt_reaches_a_running_cli_and_lets_it_end_in_order(tmp_path: Path) -> None:
    pipe = tmp_path / "ready"
    subprocess.run(["mkfifo", str(pipe)], check=True)
    cli = script(tmp_path, f"exec {sys.executable} {tmp_path}/waiting.py")
    (tmp_path / "waiting.py").write_text(
        "import signal, sys\n"
        "signal.signal(signal.SIGINT, lambda *_: sys.exit('ended in order'))\n"
        f"open({str(pipe)!r}, 'w').close()\n"
        "signal.pause()\n"
    )
    failures: list[str] = []

    def run() -> None:
        try:
            cli.run(["up"], str(tmp_path), {})
        except automation.CommandError as error:
            failures.append(str(error))

    thread = threading.Thread(target=run)
    thread.start()
    pipe.read_text()  # ends when the process has set its handler
    cli.interrupt()
    thread.join(10)
    assert len(failures) == 1
    assert "ended in order" in failures[0]


def test_after_an_interrupt_no_process_is_started(tmp_path: Path) -> None:
    """An update that was past the first check, and had no process yet, must not begin either."""
    cli = script(tmp_path, f"touch {tmp_path}/started")
    cli.interrupt()
    with pytest.raises(UpdateCut):
        cli.run(["up"], str(tmp_path), {})
    assert not (tmp_path / "started").exists()
    cli.cut = False
    cli.run(["up"], str(tmp_path), {})
    assert (tmp_path / "started").exists()
