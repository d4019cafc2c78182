"""Programs that run on after the command that started them has ended, found again by their record.

A record names a process by its id, its start time, its executable and the boot it belongs to, because ids are
given out again: nothing is ever stopped that was not started here.
"""

from __future__ import annotations

import hashlib
import json
import os
import select
import signal
import subprocess
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from local import paths
from local.errors import ProcessError, explain
from local.network import without_proxy

if TYPE_CHECKING:
    from collections.abc import Callable

START_TIMEOUT_S = 60.0
STOP_GRACE_S = 10.0
_LOOK_EVERY_S = 0.05
_SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_children: dict[int, subprocess.Popen[bytes]] = {}
"""Processes that this very command started: their parent has to collect them when they end."""


@dataclass(frozen=True)
class Program:
    """One long-running process and how to see that it works."""

    name: str
    command: tuple[str, ...]
    healthy: Callable[[], bool]
    """True when it does its work; asked only while it runs."""
    inputs: tuple[Path, ...] = ()
    """Files it reads once, at its start: when their content changes it must be started again."""
    search_path: str = ""
    """Folder put before the system's PATH."""
    hint: str = "run it again; if it fails the same way, `python -m local down` and then `up`"

    @property
    def log(self) -> Path:
        """What it writes to its standard output and error."""
        return paths.LOGS / f"{self.name}.log"

    def fingerprint(self) -> str:
        """Changes when the process would have to be started differently from how it was."""
        digest = hashlib.sha256(repr((self.command, self.search_path)).encode())
        for file in self.inputs:
            digest.update(file.read_bytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class Record:
    """What is written down about a started process."""

    pid: int
    started: int
    """Clock ticks between the boot and its start, as /proc/<pid>/stat tells."""
    boot: str
    executable: str
    """The file it runs, links resolved: unlike the command line it is true from the first moment."""
    fingerprint: str


def boot_id() -> str:
    """Differs after each reboot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def start_time(pid: int) -> int | None:
    """Start of a live process in clock ticks after the boot; None when there is none, or only a zombie."""
    child = _children.get(pid)
    if child is not None and child.poll() is not None:
        del _children[pid]
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in {"Z", "X"} else int(fields[19])


def find(name: str) -> Record | None:
    """The record of the process of that name if it is that very process that still runs."""
    try:
        record = Record(**json.loads(_record_file(name).read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None
    return record if _is_alive(record) else None


def is_running(program: Program) -> bool:
    """Whether the program runs and does its work."""
    return find(program.name) is not None and program.healthy()


def ensure(program: Program) -> bool:
    """Make the program run as described; True when it had to be started.

    One that runs but does not answer gets the time of a start before it is started again.

    Raises:
        ProcessError: it ended, or did not become healthy in time.
    """
    record = find(program.name)
    if record and record.fingerprint == program.fingerprint() and _becomes_healthy(program, record):
        return False
    stop(program.name)
    record = start(program)
    if not _becomes_healthy(program, record):
        state = "does not answer" if _is_alive(record) else "ended right after its start"
        raise ProcessError(explain(f"{program.name} {state}", program.log, program.hint))
    return True


def start(program: Program) -> Record:
    """Start the program, detached from this command and its terminal, without waiting for its health.

    The log of the run before is kept beside the new one with the suffix `.1`.
    """
    paths.LOGS.mkdir(parents=True, exist_ok=True)
    if program.log.exists():
        program.log.replace(program.log.with_suffix(".log.1"))
    search_path = f"{program.search_path}:{_SYSTEM_PATH}" if program.search_path else _SYSTEM_PATH
    environment = {**os.environ, **without_proxy(os.environ), "PATH": search_path}
    environment.pop("KUBECONFIG", None)
    with program.log.open("wb") as log:
        child = subprocess.Popen(
            program.command,
            cwd="/",
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    _children[child.pid] = child
    record = Record(
        pid=child.pid,
        started=start_time(child.pid) or 0,
        boot=boot_id(),
        executable=os.path.realpath(program.command[0]),
        fingerprint=program.fingerprint(),
    )
    paths.write_if_changed(_record_file(program.name), json.dumps(asdict(record)))
    return record


def stop(name: str, grace_s: float = STOP_GRACE_S) -> bool:
    """Stop the process of that name, kindly for `grace_s`, then by force; False when it did not run."""
    record = find(name)
    if record:
        if grace_s:
            _signal(record, signal.SIGTERM)
            _wait_for_end(record, grace_s)
        _signal(record, signal.SIGKILL)
        _wait_for_end(record, None)
    _record_file(name).unlink(missing_ok=True)
    return record is not None


def wait_until(
    condition: Callable[[], bool], timeout_s: float, unless: Callable[[], bool] = lambda: False
) -> bool:
    """Whether the condition came true within the time; gives up at once when `unless` does."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if unless() or time.monotonic() > deadline:
            return False
        time.sleep(_LOOK_EVERY_S)  # the pace of looking at a condition, not a guess at how long it takes
    return True


def _becomes_healthy(program: Program, record: Record) -> bool:
    return wait_until(program.healthy, START_TIMEOUT_S, unless=lambda: not _is_alive(record))


def _record_file(name: str) -> Path:
    return paths.PROCESSES / f"{name}.json"


def _is_alive(record: Record) -> bool:
    if record.boot != boot_id() or start_time(record.pid) != record.started:
        return False
    try:
        return str(Path(f"/proc/{record.pid}/exe").readlink()) == record.executable
    except (FileNotFoundError, ProcessLookupError, PermissionError):  # only root sees what root runs
        return False


def _signal(record: Record, number: signal.Signals) -> None:
    if _is_alive(record):
        os.kill(record.pid, number)


def _wait_for_end(record: Record, timeout_s: float | None) -> None:
    """Return when the process has ended, at the latest after the time."""
    try:
        handle = os.pidfd_open(record.pid)
    except ProcessLookupError:
        return
    try:
        if start_time(record.pid) == record.started:
            poll = select.poll()
            poll.register(handle, select.POLLIN)
            poll.poll(None if timeout_s is None else timeout_s * 1000)
            start_time(record.pid)  # collects it if it was our own child
    finally:
        os.close(handle)
