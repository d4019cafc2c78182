from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

import pytest

from local import paths, processes
from local.errors import ProcessError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "PROCESSES", tmp_path / "processes")
    monkeypatch.setattr(paths, "LOGS", tmp_path / "logs")


@pytest.fixture
def program():
    made = processes.Program("sleeper", ("/usr/bin/sleep", "600"), healthy=lambda: True)
    yield made
    processes.stop(made.name, grace_s=0)


def record_file() -> Path:
    return paths.PROCESSES / "sleeper.json"


def test_a_started_program_is_found_and_not_started_twice(program):
    assert processes.ensure(program) is True
    record = processes.find(program.name)
    assert record is not None
    assert processes.ensure(program) is False
    assert processes.find(program.name) == record


def test_a_started_program_is_the_leader_of_its_own_session(program):
    record = processes.start(program)
    assert os.getsid(record.pid) == record.pid


def test_a_killed_program_is_not_found_and_is_started_again(program):
    first = processes.start(program)
    os.kill(first.pid, signal.SIGKILL)
    assert processes.wait_until(lambda: processes.find(program.name) is None, timeout_s=5)
    assert processes.ensure(program) is True


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"started": 1}, id="the id was given to a later process"),
        pytest.param({"boot": "another"}, id="the machine was started again"),
        pytest.param({"executable": "/usr/bin/other"}, id="another program runs under the id"),
    ],
)
def test_another_process_under_the_recorded_id_is_never_touched(program, change):
    record = processes.start(program)
    record_file().write_text(json.dumps(asdict(replace(record, **change))))
    assert processes.find(program.name) is None
    assert processes.stop(program.name) is False
    assert processes.start_time(record.pid) == record.started
    os.kill(record.pid, signal.SIGKILL)


@pytest.mark.parametrize("text", ["", "not json", "[]", '{"pid": 1}'])
def test_a_damaged_record_counts_as_none(text):
    paths.PROCESSES.mkdir()
    record_file().write_text(text)
    assert processes.find("sleeper") is None


def test_a_program_whose_input_changed_is_started_again(tmp_path):
    config = tmp_path / "config"
    config.write_text("a")
    program = processes.Program("sleeper", ("/usr/bin/sleep", "600"), lambda: True, inputs=(config,))
    processes.ensure(program)
    first = processes.find("sleeper")
    config.write_text("b")
    assert processes.ensure(program) is True
    assert processes.find("sleeper") != first
    processes.stop("sleeper", grace_s=0)


def test_stop_waits_for_the_end_and_forces_it(tmp_path):
    ready = tmp_path / "ready"
    script = f"import signal, pathlib, time\nsignal.signal(15, 1)\npathlib.Path({str(ready)!r}).touch()"
    program = processes.Program("sleeper", (sys.executable, "-c", f"{script}\ntime.sleep(600)"), ready.exists)
    processes.ensure(program)
    record = processes.find("sleeper")
    assert record is not None
    assert processes.stop("sleeper", grace_s=0.2) is True
    assert processes.start_time(record.pid) is None
    assert not record_file().exists()


def test_a_program_that_ends_is_reported_with_its_last_lines():
    program = processes.Program(
        "sleeper",
        ("/bin/sh", "-c", "echo the disk is full >&2; exit 3"),
        lambda: False,
        hint="free some space",
    )
    started = time.monotonic()
    with pytest.raises(ProcessError) as failure:
        processes.ensure(program)
    assert time.monotonic() - started < processes.START_TIMEOUT_S / 2
    for part in ("sleeper ended", "the disk is full", "free some space", str(program.log)):
        assert part in str(failure.value)


def test_the_log_of_the_run_before_is_kept():
    program = processes.Program("sleeper", ("/bin/sh", "-c", "echo once; exec sleep 600"), lambda: True)
    processes.ensure(program)
    assert processes.wait_until(lambda: program.log.read_text() == "once\n", timeout_s=5)
    processes.stop("sleeper", grace_s=0)
    processes.ensure(program)
    assert program.log.with_suffix(".log.1").read_text() == "once\n"
    processes.stop("sleeper", grace_s=0)


def test_a_zombie_does_not_count_as_running():
    child = subprocess.Popen(["/bin/true"])
    assert processes.wait_until(lambda: processes.start_time(child.pid) is None, timeout_s=5)
    child.wait()


def test_waiting_gives_up_at_once_when_it_became_pointless():
    started = time.monotonic()
    assert processes.wait_until(lambda: False, timeout_s=30, unless=lambda: True) is False
    assert time.monotonic() - started < 5
