"""Builds the parts from their Go modules into the cache, once per content, and says how far it is.

A part's folder is named by a hash of everything that decides its content, and appears by one rename when it
is complete: what is there is never rebuilt, and a build that was killed leaves nothing that looks finished.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from local import paths
from local.console import progress, say
from local.errors import PartError, explain
from local.parts import PROVIDER_VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from local.parts import ModuleFiles, Part

SOURCES = ("go.mod", "go.sum", "main.go")
"""What a part's folder in the checkout may hold; the rest is made while building."""
_LOOK_EVERY_S = 0.5


def go_version() -> str:
    """Version of the Go on PATH, for example `go1.26.8`.

    Raises:
        PartError: there is no Go.
    """
    if not shutil.which("go"):
        raise PartError("Go is not installed, and the parts are built with it. Install it: https://go.dev/dl")
    asked = subprocess.run(
        ["go", "env", "GOVERSION"], cwd="/", env=_environment(), capture_output=True, text=True, check=True
    )
    return asked.stdout.strip()


def key(part: Part, sources: Path, go: str) -> str:
    """Hash of everything that decides what the part's programs are."""
    digest = hashlib.sha256(f"{part!r}\n{go}\n".encode())
    for name in SOURCES:
        file = sources / name
        if file.exists():
            digest.update(f"{name}\n".encode() + file.read_bytes())
    return digest.hexdigest()[:12]


def ensure(parts: Sequence[Part]) -> dict[str, Path]:
    """Build what is missing; for each part's name the folder with its `bin` and `share`.

    Raises:
        PartError: a part could not be built; the message says which and what to try.
    """
    if not parts:
        return {}
    go = go_version()
    folders = {part: _folder(part, go) for part in parts}
    absent = [part for part, folder in folders.items() if not folder.exists()]
    if absent:
        say(f"{len(absent)} of {len(parts)} parts are built from source now; this is done once per machine.")
    for number, part in enumerate(absent, start=1):
        with _exclusive(folders[part], part):
            if not folders[part].exists():
                _build(part, folders[part], f"[{number} of {len(absent)}] {part.name}")
    return {part.name: folder for part, folder in folders.items()}


def _folder(part: Part, go: str) -> Path:
    return paths.cache() / "parts" / f"{part.name}-{key(part, paths.PARTS / part.name, go)}"


@contextmanager
def _exclusive(folder: Path, part: Part) -> Iterator[None]:
    """Hold the part's build lock, so that two checkouts do not build the same at once."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f".{folder.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"{part.name}: another checkout builds it, waiting for that")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build(part: Part, folder: Path, label: str) -> None:
    log = paths.cache() / "logs" / f"build-{part.name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("")
    work = Path(tempfile.mkdtemp(prefix=f".building-{part.name}-", dir=folder.parent))
    try:
        with progress(label) as report:
            _make(part, work, log, report)
        shutil.rmtree(work / "src")
        work.chmod(0o755)
        work.rename(folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _make(part: Part, work: Path, log: Path, report: Callable[[str], None]) -> None:
    source, programs = work / "src", work / "bin"
    source.mkdir()
    programs.mkdir()
    for name in SOURCES:
        if (paths.PARTS / part.name / name).exists():
            shutil.copy(paths.PARTS / part.name / name, source)
    if part.schema:
        _embed_schema(source, part.schema)
    stamps = " ".join(f"-X {variable}={value}" for variable, value in part.stamps)
    for program, package in part.binaries:
        command = ["go", "build", "-v", "-trimpath", "-ldflags", f"-s -w {stamps}".strip()]
        command += ["-tags", part.tags] if part.tags else []
        command += ["-p", str(part.jobs)] if part.jobs else []
        _run_go([*command, "-o", str(programs / program), package], source, log, report)
    for link in part.links:
        (programs / link).symlink_to(part.binaries[0][0])
    for files in part.share:
        _copy_share(source, files, work / "share")


def _run_go(command: list[str], source: Path, log: Path, report: Callable[[str], None]) -> None:
    with log.open("ab") as output:
        process = subprocess.Popen(command, cwd=source, env=_environment(), stdout=output, stderr=output)
        try:
            while process.poll() is None:
                report(_last_line(log))
                time.sleep(_LOOK_EVERY_S)  # looks at a log; the build itself is not paced by it
        except BaseException:
            process.kill()
            process.wait()
            raise
    if process.returncode:
        what = f"Building {source.parent.name.removeprefix('.building-')} failed ({command[-1]})"
        raise PartError(explain(what, log, _hint(log.read_text(errors="replace"))))


def _environment() -> dict[str, str]:
    """Environment that makes builds repeatable: the user's GOFLAGS and workspaces have no say."""
    return {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false -mod=readonly", "GOWORK": "off"}


def _last_line(log: Path) -> str:
    """Last line of a growing log: the package being compiled, or the module being downloaded."""
    with log.open("rb") as stream:
        stream.seek(max(0, log.stat().st_size - 300))
        lines = stream.read().decode(errors="replace").splitlines()
    return lines[-1] if lines else "compiling"


def _hint(log: str) -> str:
    """What to try after a failed build, from what its log says."""
    if "signal: killed" in log or "cannot allocate memory" in log:
        return "the machine ran out of memory; stop what else runs and try again (4 GB must be free)"
    if any(
        sign in log for sign in ("dial tcp", "i/o timeout", "no such host", "TLS handshake", "Bad Gateway")
    ):
        return "the Go module proxy was not reached; check the network and GOPROXY, then run it again"
    if "no space left on device" in log:
        return f"free some disk space (10 GB are needed), or set VALKEEPER_CACHE; now: {paths.cache()}"
    return "run it again; if it fails the same way, `go clean -cache` and again"


def _module_folder(source: Path, module: str) -> Path:
    asked = subprocess.run(
        ["go", "mod", "download", "-json", module],
        cwd=source,
        env=_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if asked.returncode:
        raise PartError(f"{module} could not be downloaded: {asked.stderr.strip() or asked.stdout.strip()}")
    return Path(json.loads(asked.stdout)["Dir"])


def _embed_schema(source: Path, schema: ModuleFiles) -> None:
    """Write schema-embed.json as the provider's own release does: version set, minified."""
    content = json.loads((_module_folder(source, schema.module) / schema.pattern).read_bytes())
    content["version"] = PROVIDER_VERSION
    (source / "schema-embed.json").write_text(json.dumps(content, separators=(",", ":")))


def _copy_share(source: Path, files: ModuleFiles, share: Path) -> None:
    share.mkdir(exist_ok=True)
    found = sorted(_module_folder(source, files.module).glob(files.pattern))
    if not found:
        raise PartError(f"{files.module} has no file {files.pattern}: its pin has moved without this table")
    for file in found:
        copy = share / file.name
        shutil.copyfile(file, copy)
        # A module carries no modes: a script is known by its first line.
        copy.chmod(0o755 if file.read_bytes().startswith(b"#!") else 0o644)
