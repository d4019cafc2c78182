"""`python -m local COMMAND`: the local Kubernetes from the command line; the Makefile's targets call it."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

import click

from local import cluster, kube, paths, processes, pulumi_parts, quickstart
from local.console import say
from local.errors import LocalError, NotRunningError
from local.nodes import NODES


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Run a real three-node Kubernetes on this machine."""


@main.command()
def up() -> None:
    """Start it, or repair what is missing; with KUBECONFIG set, only make Pulumi's parts."""
    ready = cluster.up()
    say(f"Kubernetes is ready: KUBECONFIG={ready.kubeconfig}")
    if ready.daemon_image:
        older, newer = ready.valkey_versions
        say(f"On every node: Valkey {older} and {newer}, and this checkout's daemon as {ready.daemon_image}")


@main.command("quickstart")
def start_all() -> None:
    """From nothing to a Ready Valkey cluster: `make up`."""
    quickstart.run()


@main.command(context_settings={"ignore_unknown_options": True})
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def session(command: tuple[str, ...]) -> None:
    """Run COMMAND, and stop the local Kubernetes afterwards unless it ran before."""
    sys.exit(quickstart.session(list(command)))


@main.command()
def down() -> None:
    """Stop it and remove its data; what was built stays in the cache."""
    cluster.down()
    say("Nothing of the local Kubernetes is left running or mounted.")


@main.command()
def kubeconfig() -> None:
    """Print the path of the administrator's kubeconfig and nothing else."""
    if not cluster.is_running():
        raise NotRunningError("The local Kubernetes is not running: `make up` starts it.")
    click.echo(paths.KUBECONFIG)


@main.command()
def status() -> None:
    """Show every program and node."""
    for name, program in cluster.programs().items():
        record = processes.find(name)
        state = "stopped" if not record else "works" if program.healthy() else "does not answer"
        who = f"{record.pid:<9}{_memory(record.pid):<9}" if record else " " * 18
        click.echo(f"{name:<24}{state:<17}{who}{program.log}")
    if not cluster.is_running():
        raise NotRunningError("The local Kubernetes is not running: `make up` starts it.")
    ready = kube.ready_nodes()
    for node in NODES:
        click.echo(f"{'node ' + node.name:<24}{'Ready' if node.name in ready else 'not Ready'}")


@main.command()
def env() -> None:
    """Print shell exports with which `pulumi` on the command line works: eval "$(python -m local env)"."""
    for name, value in pulumi_parts.environment(os.environ, pulumi_parts.ensure()).items():
        click.echo(f"export {name}={shlex.quote(value)}")


@main.command()
@click.argument("program")
def stop(program: str) -> None:
    """Stop one program, to see what happens without it."""
    cluster.stop_program(program)


@main.command()
@click.argument("program")
def start(program: str) -> None:
    """Start one program again and wait until it works."""
    cluster.start_program(program)


@main.command()
@click.argument("archive", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def load(archive: Path) -> None:
    """Put the images of a tar archive on every node."""
    cluster.load(archive)


def _memory(pid: int) -> str:
    """Resident memory of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    kilobytes = next((int(line.split()[1]) for line in lines if line.startswith("VmRSS:")), 0)
    return f"{kilobytes // 1024} MB"


def run() -> None:
    """Run the command; a failure is one message on stderr and its exit code."""
    try:
        main()
    except LocalError as failure:
        say(str(failure))
        sys.exit(failure.exit_code)


if __name__ == "__main__":
    run()
