from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from local import build, parts, paths
from local.errors import LocalError, PartError, explain, tail

if TYPE_CHECKING:
    from pathlib import Path

ALL = (*parts.KUBERNETES_PARTS, *parts.PULUMI_PARTS)


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    (tmp_path / "go.mod").write_text("module x\n")
    (tmp_path / "go.sum").write_text("sum\n")
    return tmp_path


def test_key_is_the_same_for_the_same_content(sources, tmp_path_factory):
    copy = tmp_path_factory.mktemp("other-checkout")
    for file in sources.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    assert build.key(parts.ETCD, sources, "go1.26.8") == build.key(parts.ETCD, copy, "go1.26.8")


@pytest.mark.parametrize("name", build.SOURCES)
def test_key_changes_with_each_source(sources, name):
    before = build.key(parts.ETCD, sources, "go1.26.8")
    (sources / name).write_text("something else\n")
    assert build.key(parts.ETCD, sources, "go1.26.8") != before


def test_key_changes_with_go_and_with_flags(sources):
    keys = {
        build.key(parts.ETCD, sources, "go1.26.8"),
        build.key(parts.ETCD, sources, "go1.26.9"),
        build.key(parts.PULUMI, sources, "go1.26.8"),
    }
    assert len(keys) == 3


def test_key_ignores_files_that_the_build_makes(sources):
    before = build.key(parts.PULUMI_KUBERNETES, sources, "go1.26.8")
    (sources / "schema-embed.json").write_text("{}")
    assert build.key(parts.PULUMI_KUBERNETES, sources, "go1.26.8") == before


@pytest.mark.parametrize("part", ALL, ids=lambda part: part.name)
def test_every_part_has_its_module_pinned(part):
    folder = paths.PARTS / part.name
    assert (folder / "go.sum").exists()
    assert (folder / "main.go").exists() == any(package == "." for _, package in part.binaries)


def test_no_folder_without_a_part():
    assert {folder.name for folder in paths.PARTS.iterdir()} == {part.name for part in ALL}


@pytest.mark.parametrize(
    ("part", "module", "version"),
    [
        (parts.KUBERNETES, "k8s.io/kubernetes", f"v{parts.KUBERNETES_VERSION}"),
        (parts.PULUMI, "github.com/pulumi/pulumi/pkg/v3", f"v{parts.PULUMI_VERSION}"),
        (parts.PULUMI, "github.com/pulumi/pulumi/sdk/v3", f"v{parts.PULUMI_VERSION}"),
        (
            parts.PULUMI_LANGUAGE_PYTHON,
            "github.com/pulumi/pulumi/sdk/v3/python/cmd/pulumi-language-python",
            None,
        ),
    ],
)
def test_stamped_versions_are_those_of_the_pins(part, module, version):
    text = (paths.PARTS / part.name / "go.mod").read_text()
    found = re.search(rf"{re.escape(module)} (v\S+)", text)
    if version:
        assert found
        assert found[1] == version
    else:
        assert parts.LANGUAGE_HOST_VERSION in text


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        ("compile: signal: killed", "memory"),
        ("Get https://proxy.golang.org: dial tcp: lookup failed", "network"),
        ("write /tmp/x: no space left on device", "disk"),
        ("undefined: something", "go clean -cache"),
    ],
)
def test_a_failed_build_says_what_to_try(log, expected):
    assert expected in build._hint(log)


def test_a_failed_build_shows_its_part_and_the_end_of_its_log(sources, tmp_path):
    log = tmp_path / "build.log"
    (sources / "main.go").write_text("package main\nfunc main() { undefinedName() }\n")
    (sources / "go.mod").write_text("module valkeeper.io/test\n\ngo 1.21\n")
    with pytest.raises(PartError) as failure:
        build._run_go(["go", "build", "-o", str(tmp_path / "x"), "."], sources, log, lambda _: None)
    assert "undefinedName" in str(failure.value)
    assert str(log) in str(failure.value)


def test_tail_shows_the_last_lines_only(tmp_path):
    log = tmp_path / "log"
    log.write_text("\n".join(f"line {n}" for n in range(100)))
    assert "line 99" in tail(log)
    assert "line 80" not in tail(log)
    assert "no log" in tail(tmp_path / "absent")
    assert str(log) in explain("etcd ended", log, "this")


def test_every_failure_is_one_kind_of_error():
    assert issubclass(PartError, LocalError)
