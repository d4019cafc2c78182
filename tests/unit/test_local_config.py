from __future__ import annotations

import json
import tomllib

import pytest

from local import addons, config, control_plane, paths
from local.nodes import NODES, Node, kubelet

FOLDERS = dict.fromkeys(("kubernetes", "etcd", "containerd", "coredns", "cert-manager"), paths.PARTS)


def test_three_nodes_in_three_zones():
    assert [(node.name, node.zone, node.address) for node in NODES] == [
        ("n1", "z1", "172.30.0.1"),
        ("n2", "z2", "172.30.0.2"),
        ("n3", "z3", "172.30.0.3"),
    ]


@pytest.mark.parametrize("kind", ["kubelet", "containerd", "pod_network"])
def test_nodes_share_no_folder_address_or_socket(kind):
    texts = [getattr(config, kind)(node) for node in NODES]
    for text, node in zip(texts, NODES, strict=True):
        for other in NODES:
            if other != node:
                assert f"/{other.name}/" not in text
                assert f'{other.address}"' not in text or other.number == 1  # the cluster's DNS


def test_kubelet_configuration_runs_on_cgroup_v1_and_with_swap():
    content = json.loads(config.kubelet(Node(2)))
    assert content["failCgroupV1"] is False
    assert content["failSwapOn"] is False
    assert content["cgroupRoot"] == "/valkeeper-n2"
    assert content["containerRuntimeEndpoint"] == "unix:///run/valkeeper/n2/containerd.sock"
    assert content["clusterDNS"] == ["172.30.0.1"]


def test_containerd_configuration_is_toml_with_its_own_folders():
    content = tomllib.loads(config.containerd(Node(3)))
    assert content["root"] == "/var/lib/valkeeper/local/nodes/n3/containerd"
    assert content["state"] == "/run/valkeeper/n3/containerd"
    runtime = content["plugins"]["io.containerd.cri.v1.runtime"]
    assert runtime["containerd"]["runtimes"]["runc"]["options"]["SystemdCgroup"] is False
    images = content["plugins"]["io.containerd.cri.v1.images"]
    assert images["pinned_images"]["sandbox"] == config.PAUSE_IMAGE


def test_sockets_are_short_enough_for_the_kernel():
    for node in NODES:
        assert len(f"{node.socket}.ttrpc") < 108


def test_pods_get_addresses_of_their_node_and_a_way_out():
    content = json.loads(config.pod_network(Node(2)))
    plugin = content["plugins"][0]
    assert plugin["ipam"]["ranges"] == [[{"subnet": "10.244.2.0/24"}]]
    assert plugin["ipam"]["routes"] == [{"dst": "0.0.0.0/0"}]


def test_kubelets_carry_zone_labels():
    command = kubelet(FOLDERS, Node(3)).command
    assert any("topology.kubernetes.io/zone=z3" in word for word in command)


def test_audit_policy_notes_every_request_once():
    policy = json.loads(config.audit_policy())
    assert policy["rules"] == [{"level": "Metadata"}]
    assert policy["omitStages"] == ["RequestReceived"]
    assert f"--audit-log-path={paths.AUDIT_LOG}" in control_plane.apiserver(FOLDERS).command


def test_program_names_are_the_ones_that_stop_and_start_take():
    makers = (*control_plane.API, *control_plane.CONTROLLERS, *control_plane.ADDONS)
    assert [make(FOLDERS).name for make in makers] == [
        "etcd",
        "apiserver",
        "controller-manager",
        "scheduler",
        "proxy",
        "coredns",
        "volumes",
        "cert-manager",
    ]


def test_templates_of_the_helm_chart_are_left_out_of_certificate_kinds(tmp_path):
    (tmp_path / "crd-x.yaml").write_text(
        "kind: CustomResourceDefinition\nmetadata:\n  name: x\n  labels:\n"
        "    app: '{{ template \"name\" . }}'\n    # {{- include }}\n    kept: yes-it-is\n"
    )
    assert addons.certificate_kinds(tmp_path) == [
        {"kind": "CustomResourceDefinition", "metadata": {"name": "x", "labels": {"kept": "yes-it-is"}}}
    ]


def test_storage_class_is_the_default_and_waits_for_the_pod():
    storage_class = addons.storage()[-1]
    assert storage_class["metadata"]["annotations"]["storageclass.kubernetes.io/is-default-class"] == "true"
    assert storage_class["volumeBindingMode"] == "WaitForFirstConsumer"
