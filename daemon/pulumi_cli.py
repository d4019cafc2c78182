"""The Pulumi CLI as a process: each run in a group of its own that can be interrupted."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from typing import TYPE_CHECKING, Any

from pulumi import automation
from pulumi.automation.errors import create_command_error

from daemon.errors import UpdateCut

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Cli(automation.PulumiCommand):
    """The CLI, each run in a process group of its own that can be interrupted."""

    def __init__(self) -> None:
        super().__init__(skip_version_check=True)
        self._running: set[subprocess.Popen[str]] = set()
        self._starting = threading.Lock()
        self.cut = False
        """No process is started any more."""

    def run(
        self,
        args: list[str],
        cwd: str,
        additional_env: Mapping[str, str],
        on_output: Callable[[str], Any] | None = None,
        on_error: Callable[[str], Any] | None = None,
    ) -> automation.CommandResult:
        """See PulumiCommand.run.

        Raises:
            CommandError: of the kind that its text tells: the Automation API asks for StackNotFoundError.
            UpdateCut: no process may be started any more.
        """
        del on_output, on_error
        process = self._start(args, cwd, {**os.environ, **additional_env, "PULUMI_AUTOMATION_API": "true"})
        try:
            stdout, stderr = process.communicate()
        finally:
            with self._starting:
                self._running.discard(process)
        result = automation.CommandResult(stdout=stdout, stderr=stderr, code=process.returncode)
        if process.returncode != 0:
            raise create_command_error(result)
        return result

    def _start(self, args: list[str], cwd: str, env: Mapping[str, str]) -> subprocess.Popen[str]:
        with self._starting:  # a process either is among those that `interrupt` reaches or never starts
            if self.cut:
                raise UpdateCut("the daemon does not write any more")
            process = subprocess.Popen(
                [self.command, "--non-interactive", *args],
                cwd=cwd,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                start_new_session=True,
            )
            self._running.add(process)
        return process

    def interrupt(self) -> None:
        """Ask every running CLI to come to an orderly end (a second signal would be a hard one)."""
        with self._starting:
            self.cut = True
            for process in self._running:
                process.send_signal(signal.SIGINT)
