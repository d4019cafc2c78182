from __future__ import annotations

import hashlib
import json
import os
import tarfile
from pathlib import Path

import pytest

from local import daemon_image, images, oci, pulumi_parts
from local.errors import LocalError

SETTINGS = oci.Settings(command=("run",), environment={"A": "b"}, user="1:1", working_dir="/data")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "opt" / "python").mkdir(parents=True)
    (root / "opt" / "python" / "b.py").write_text("b")
    (root / "opt" / "python" / "a.py").write_text("a")
    (root / "etc").mkdir()
    return root


def blobs(archive: Path) -> dict[str, bytes]:
    with tarfile.open(archive) as opened:
        return {
            entry.name: opened.extractfile(entry).read()  # type: ignore[union-attr]
            for entry in opened
        }


def test_a_layer_is_the_same_whenever_and_by_whomever_it_is_packed(root, tmp_path):
    first = oci.pack(root, "opt/python", tmp_path / "1.tar")
    for file in root.rglob("*"):
        os.utime(file, (1, 1))
    assert oci.pack(root, "opt/python", tmp_path / "2.tar").digest == first.digest


def test_a_layer_holds_its_folder_and_the_way_to_it_only(root, tmp_path):
    packed = oci.pack(root, "opt/python", tmp_path / "layer.tar")
    with tarfile.open(packed.file) as archive:
        assert archive.getnames() == ["opt", "opt/python", "opt/python/a.py", "opt/python/b.py"]


def test_owners_are_set_where_asked_and_root_elsewhere(root, tmp_path):
    packed = oci.pack(root, "", tmp_path / "layer.tar", {"./etc": 999})
    with tarfile.open(packed.file) as archive:
        assert archive.getmember("./etc").uid == 999
        assert archive.getmember("./opt").uid == 0


def test_an_archive_is_a_valid_image_layout(root, tmp_path):
    layer = oci.pack(root, "", tmp_path / "layer.tar")
    image = oci.write("example.com/x:1.2", [layer], SETTINGS, tmp_path / "image.tar")
    content = blobs(image.archive)
    assert json.loads(content["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    (entry,) = json.loads(content["index.json"])["manifests"]
    assert entry["digest"] == image.digest
    assert entry["annotations"]["io.containerd.image.name"] == "example.com/x:1.2"
    for name, blob in content.items():
        if name.startswith("blobs/"):
            assert hashlib.sha256(blob).hexdigest() == Path(name).name
    manifest = json.loads(content[f"blobs/sha256/{image.digest.removeprefix('sha256:')}"])
    config = json.loads(content[f"blobs/sha256/{manifest['config']['digest'].removeprefix('sha256:')}"])
    assert config["rootfs"]["diff_ids"] == [layer.digest]
    assert config["config"] == {
        "Cmd": ["run"],
        "Entrypoint": [],
        "Env": ["A=b"],
        "User": "1:1",
        "WorkingDir": "/data",
    }


def test_an_archive_may_leave_out_layers_that_the_node_has(root, tmp_path):
    base = oci.pack(root, "opt", tmp_path / "base.tar")
    top = oci.pack_files({"app/x.py": b"x"}, tmp_path / "top.tar")
    image = oci.write("x:1", [base, top], SETTINGS, tmp_path / "image.tar", carried=[top])
    names = blobs(image.archive)
    assert f"blobs/sha256/{top.digest.removeprefix('sha256:')}" in names
    assert f"blobs/sha256/{base.digest.removeprefix('sha256:')}" not in names
    manifest = json.loads(names[f"blobs/sha256/{image.digest.removeprefix('sha256:')}"])
    assert [layer["digest"] for layer in manifest["layers"]] == [base.digest, top.digest]


def test_a_recipe_is_called_by_its_whole_content():
    recipe = images.Recipe("trixie", ("valkey-server",))
    others = [
        images.Recipe("forky", ("valkey-server",)),
        images.Recipe("trixie", ("valkey-server", "dash")),
        images.Recipe("trixie", ("valkey-server",), (("root", 0),)),
        images.Recipe("trixie", ("valkey-server",), revision=2),
    ]
    assert recipe.key() == images.Recipe("trixie", ("valkey-server",)).key()
    assert len({recipe.key(), *(other.key() for other in others)}) == 5


def test_versions_are_ordered_by_number_not_by_letter():
    references = ["x/valkey:10.0.0", "x/valkey:9.1.2", "x/valkey:8.1.11", "x/valkey:8.1.2"]
    assert sorted(references, key=images.version_key) == [
        "x/valkey:8.1.2",
        "x/valkey:8.1.11",
        "x/valkey:9.1.2",
        "x/valkey:10.0.0",
    ]


def test_an_image_is_made_once_per_key(tmp_path, monkeypatch):
    monkeypatch.setenv("VALKEEPER_CACHE", str(tmp_path))
    made = []

    def make(work: Path) -> list[oci.Image]:
        made.append(work)
        layer = oci.pack_files({"a": b"a"}, work / "layer.tar")
        return [oci.write("x:1", [layer], SETTINGS, work / "image.tar")]

    first = images.cached("x", "k1", make)
    assert images.cached("x", "k1", make) == first
    assert first[0].archive.exists()
    images.cached("x", "k2", make)
    assert len(made) == 2


def test_an_image_that_failed_leaves_nothing_that_looks_finished(tmp_path, monkeypatch):
    monkeypatch.setenv("VALKEEPER_CACHE", str(tmp_path))

    def fail(work: Path) -> list[oci.Image]:
        (work / "half").write_text("half")
        raise LocalError("broken")

    with pytest.raises(LocalError):
        images.cached("x", "k", fail)
    assert not list((tmp_path / "images").iterdir())


def checkout(folder: Path) -> Path:
    for package in daemon_image.CODE:
        (folder / package / "__pycache__").mkdir(parents=True)
        (folder / package / "__init__.py").write_text("")
        (folder / package / "__pycache__" / "x.cpython-311.pyc").write_bytes(b"")
    (folder / "stacks" / "Pulumi.local.yaml").write_text("a: b\n")
    return folder


def test_the_daemons_code_is_its_packages_without_compiled_files(tmp_path):
    assert sorted(daemon_image.code_files(checkout(tmp_path))) == [
        "app/daemon/__init__.py",
        "app/stacks/Pulumi.local.yaml",
        "app/stacks/__init__.py",
        "app/valkey_cluster/__init__.py",
    ]


def test_a_checkout_without_a_package_is_named(tmp_path):
    folder = checkout(tmp_path)
    (folder / "daemon" / "__init__.py").unlink()
    with pytest.raises(LocalError, match="daemon"):
        daemon_image.code_files(folder)


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("v3.259.0", True),
        ("v3.260.1\n", True),
        ("v3.258.9", False),
        ("v4.0.0", False),
        ("v2.300.0", False),
        ("", False),
        ("not a version", False),
    ],
)
def test_an_installed_pulumi_serves_when_it_is_not_older_than_the_sdk(version, expected):
    assert pulumi_parts.is_compatible(version) is expected


def test_pulumi_uses_the_state_of_the_local_cluster_and_keeps_what_the_user_set():
    parts = pulumi_parts.PulumiParts(Path("/c/pulumi"), Path("/c/provider"), (Path("/c"),))
    local = pulumi_parts.environment({"PATH": "/bin"}, parts)
    assert local["PULUMI_BACKEND_URL"] == "file:///var/lib/valkeeper/local/pulumi-state"
    assert local["PULUMI_CONFIG_PASSPHRASE"] == ""
    assert local["PATH"].endswith(":/c:/bin")
    assert "172.30.0.0/24" in local["NO_PROXY"]
    own = pulumi_parts.environment(
        {"KUBECONFIG": "/me/config", "PULUMI_BACKEND_URL": "s3://b", "PULUMI_CONFIG_PASSPHRASE": "p"}, parts
    )
    assert own["KUBECONFIG"] == "/me/config"
    assert not {"PULUMI_BACKEND_URL", "PULUMI_CONFIG_PASSPHRASE", "NO_PROXY"} & own.keys()
