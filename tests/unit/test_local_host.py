from __future__ import annotations

import ssl

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from local import cgroups, network, paths, pki, preflight, teardown
from local.errors import MissingFeaturesError
from local.nodes import identities


@pytest.fixture
def authority(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "PKI", tmp_path / "pki")
    pki.ensure([*pki.CONTROL_PLANE, *identities()])
    return tmp_path / "pki"


def subject(name: str, oid: x509.ObjectIdentifier) -> str:
    certificate = x509.load_pem_x509_certificate(pki.certificate_file(name).read_bytes())
    return str(certificate.subject.get_attributes_for_oid(oid)[0].value)


def test_kubelets_are_named_as_the_node_authorizer_asks(authority):
    assert subject("n2", NameOID.COMMON_NAME) == "system:node:n2"
    assert subject("n2", NameOID.ORGANIZATION_NAME) == "system:nodes"


def test_certificates_are_signed_by_the_authority_and_load_with_their_keys(authority):
    issuer = x509.load_pem_x509_certificate(pki.certificate_file("ca").read_bytes())
    for file in sorted(authority.glob("*.crt")):
        certificate = x509.load_pem_x509_certificate(file.read_bytes())
        certificate.verify_directly_issued_by(issuer)
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(file, file.with_suffix(".key"))


def test_the_api_server_serves_under_every_address_it_has(authority):
    certificate = x509.load_pem_x509_certificate(pki.certificate_file("apiserver").read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    addresses = {str(one) for one in names.get_values_for_type(x509.IPAddress)}
    assert addresses == {"10.96.0.1", "172.30.0.1", "127.0.0.1"}
    assert "kubernetes.default.svc" in names.get_values_for_type(x509.DNSName)


def test_keys_are_for_root_alone_and_never_made_anew(authority):
    before = {file.name: file.read_bytes() for file in authority.iterdir()}
    assert all((authority / name).stat().st_mode & 0o077 == 0 for name in before if name.endswith(".key"))
    pki.ensure([*pki.CONTROL_PLANE, *identities()])
    assert {file.name: file.read_bytes() for file in authority.iterdir()} == before


def test_a_certificate_that_is_missing_is_added_without_touching_the_others(authority):
    kept = pki.certificate_file("admin").read_bytes()
    pki.certificate_file("proxy").unlink()
    pki.ensure(pki.CONTROL_PLANE)
    assert pki.certificate_file("proxy").exists()
    assert pki.certificate_file("admin").read_bytes() == kept


V1 = """\
proc /proc proc rw 0 0
cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,relatime,cpu,cpuacct 0 0
cgroup /sys/fs/cgroup/cpuset cgroup rw,cpuset 0 0
cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0
"""


def test_control_group_trees_are_read_from_the_mounts():
    trees = cgroups.hierarchies(V1)
    assert [str(tree.mount) for tree in trees] == [
        "/sys/fs/cgroup/cpu,cpuacct",
        "/sys/fs/cgroup/cpuset",
        "/sys/fs/cgroup/memory",
    ]
    assert {"cpu", "cpuacct"} <= trees[0].controllers
    assert not any(tree.is_v2 for tree in trees)


def test_the_unified_tree_tells_its_controllers_itself(tmp_path):
    (tmp_path / "cgroup.controllers").write_text("cpuset cpu io memory pids\n")
    (tree,) = cgroups.hierarchies(f"cgroup2 {tmp_path} cgroup2 rw 0 0\n")
    assert tree.is_v2
    assert tree.controllers >= set(cgroups.NEEDED)


def test_missing_features_are_one_message_that_names_the_way_out():
    failure = MissingFeaturesError(["root is needed", "overlayfs cannot be mounted"])
    assert failure.exit_code == 3
    for part in ("root is needed", "overlayfs cannot be mounted", "KUBECONFIG"):
        assert part in str(failure)


def test_without_root_nothing_else_is_tried(monkeypatch):
    monkeypatch.setattr(preflight.os, "geteuid", lambda: 1000)
    assert preflight.missing() == [
        "root is needed, to start containers and to set up their network (try sudo)"
    ]
    with pytest.raises(MissingFeaturesError, match="root is needed"):
        preflight.prepare()


def test_why_a_command_was_refused_is_its_first_line():
    assert (
        preflight._refused("/bin/sh", "-c", "echo not permitted >&2; echo more >&2; exit 1")
        == "not permitted"
    )
    assert preflight._refused("/bin/sh", "-c", "exit 7") == "/bin/sh ended with 7"
    assert preflight._refused("/bin/true") is None


@pytest.mark.parametrize("given", [{}, {"NO_PROXY": "a.example,localhost"}, {"no_proxy": "a.example"}])
def test_a_proxy_is_never_asked_for_the_clusters_addresses_and_the_users_exceptions_stay(given):
    names = network.without_proxy(given)["NO_PROXY"].split(",")
    assert {"172.30.0.0/24", "10.96.0.0/16", "10.244.0.0/16"} <= set(names)
    assert ("a.example" in names) == bool(given)
    assert len(names) == len(set(names))


MOUNTS = """\
1 0 8:1 / / rw - ext4 /dev/vda rw
2 1 0:9 / /var/lib/valkeeper/local/nodes/n1/kubelet rw - ext4 /dev/vda rw
3 2 0:9 / /var/lib/valkeeper/local/nodes/n1/kubelet/pods/a\\040b rw - tmpfs tmpfs rw
4 1 0:9 / /var/lib/valkeeper/localized rw - tmpfs tmpfs rw
5 1 0:9 / /run/valkeeper/n2/netns/x rw - nsfs nsfs rw
6 1 0:9 / /run/valkeeper-other rw - nsfs nsfs rw
"""


def test_only_mounts_below_the_clusters_own_folders_are_unmounted():
    assert teardown.mounts(MOUNTS) == [
        "/var/lib/valkeeper/local/nodes/n1/kubelet",
        "/var/lib/valkeeper/local/nodes/n1/kubelet/pods/a b",
        "/run/valkeeper/n2/netns/x",
    ]


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (["/c/containerd-shim-runc-v2", "-address", "/run/valkeeper/n1/containerd.sock"], True),
        (["/old/cache/bin/kubelet", "--root-dir=/var/lib/valkeeper/local/nodes/n1/kubelet"], True),
        (["/usr/bin/containerd-shim-runc-v2", "-address", "/run/containerd/containerd.sock"], False),
        (["kubectl", "--kubeconfig", "/var/lib/valkeeper/local/kubeconfig", "get", "pods"], False),
        (["vim", "/var/lib/valkeeper/local/logs/etcd.log"], False),
        ([""], False),
    ],
)
def test_only_the_clusters_own_programs_are_stopped(command, expected):
    assert teardown._is_ours([word.encode() for word in command]) is expected
