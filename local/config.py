"""Every configuration file of the cluster, as data; nothing here reads or writes.

JSON is YAML, so structured files are written as JSON.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from local import paths, pki
from local.network import API_ADDRESS, POD_RANGE
from local.nodes import KUBELET_HEALTH_PORT, KUBELET_PORT

if TYPE_CHECKING:
    from pathlib import Path

    from local.nodes import Node

CNI_PROGRAMS = "/usr/lib/cni"
PAUSE_IMAGE = "registry.k8s.io/pause:3.10.1"
CLUSTER_DOMAIN = "cluster.local"
DNS_READY = "127.0.0.1:8181"
PROXY_HEALTH = "127.0.0.1:10256"


def kubelet(node: Node) -> str:
    """KubeletConfiguration; cgroup v1 and swap are no obstacle, only the node's folders are written to."""
    return _json(
        {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": node.address,
            "port": KUBELET_PORT,
            "healthzBindAddress": node.address,
            "healthzPort": KUBELET_HEALTH_PORT,
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": str(pki.certificate_file("ca"))},
            },
            "authorization": {"mode": "Webhook"},
            "tlsCertFile": str(pki.certificate_file(node.name)),
            "tlsPrivateKeyFile": str(pki.key_file(node.name)),
            "containerRuntimeEndpoint": f"unix://{node.socket}",
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{node.control_group}",
            "failCgroupV1": False,
            "failSwapOn": False,
            "podLogsDir": str(node.folder / "podlogs"),
            "volumePluginDir": str(node.folder / "volume-plugins"),
            "makeIPTablesUtilChains": False,
            "clusterDNS": [API_ADDRESS],
            "clusterDomain": CLUSTER_DOMAIN,
            "resolvConf": str(paths.CONFIG / "resolv.conf"),
            "oomScoreAdj": 0,
            "maxOpenFiles": 20000,
            "maxPods": 200,
            "syncFrequency": "10s",
            "imageGCHighThresholdPercent": 100,
            "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%"},
        }
    )


def containerd(node: Node) -> str:
    """Configuration of containerd: own folders and sockets, nothing that nodes on one machine would share."""
    runtime = "io.containerd.cri.v1.runtime"
    return f"""\
version = 3
root = "{node.folder}/containerd"
state = "{node.run}/containerd"
disabled_plugins = ["io.containerd.internal.v1.opt"]

[grpc]
  address = "{node.socket}"
[ttrpc]
  address = "{node.socket}.ttrpc"
[debug]
  address = "{node.run}/containerd-debug.sock"

[plugins.'io.containerd.shim.v1.manager']
  socket_dir = "{node.shims}"
[plugins.'io.containerd.nri.v1.nri']
  disable = true
[plugins.'io.containerd.cri.v1.images']
  use_local_image_pull = true
[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = "{PAUSE_IMAGE}"
[plugins.'{runtime}']
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
[plugins.'{runtime}'.cni]
  bin_dirs = ["{CNI_PROGRAMS}"]
  conf_dir = "{paths.CONFIG}/{node.name}/cni"
[plugins.'{runtime}'.containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[plugins.'{runtime}'.containerd.runtimes.runc.options]
  Root = "{node.run}/runc"
  SystemdCgroup = false
"""


def pod_network(node: Node) -> str:
    """CNI: a routed link per pod, addresses from the node's range."""
    return _json(
        {
            "cniVersion": "1.0.0",
            "name": f"valkeeper-{node.name}",
            "plugins": [
                {
                    "type": "ptp",
                    "ipMasq": False,
                    "ipam": {
                        "type": "host-local",
                        "dataDir": str(node.run / "addresses"),
                        "ranges": [[{"subnet": node.pod_range}]],
                        "routes": [{"dst": "0.0.0.0/0"}],
                    },
                }
            ],
        }
    )


def kube_proxy() -> str:
    """KubeProxyConfiguration; one serves all nodes, because they share the machine's network."""
    return _json(
        {
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "mode": "nftables",
            "nftables": {"minSyncPeriod": "100ms", "syncPeriod": "30s"},
            "hostnameOverride": "n1",
            "clusterCIDR": POD_RANGE,
            "healthzBindAddress": PROXY_HEALTH,
            "metricsBindAddress": "127.0.0.1:10249",
            "oomScoreAdj": 0,
            "clientConnection": {"kubeconfig": str(paths.CONFIG / "proxy.kubeconfig")},
            "conntrack": {"maxPerCore": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        }
    )


def corefile() -> str:
    """CoreDNS: cluster names only, straight from the API without a cache that could be stale."""
    return f"""\
.:53 {{
  bind {API_ADDRESS}
  errors
  ready {DNS_READY}
  kubernetes {CLUSTER_DOMAIN} in-addr.arpa {{
    kubeconfig {paths.CONFIG}/coredns.kubeconfig
    ttl 1
  }}
}}
"""


def audit_policy() -> str:
    """Who did what, without contents: tests read from it which requests a component made."""
    return _json(
        {
            "apiVersion": "audit.k8s.io/v1",
            "kind": "Policy",
            "omitStages": ["RequestReceived"],
            "rules": [{"level": "Metadata"}],
        }
    )


def files(nodes: tuple[Node, ...]) -> dict[Path, str]:
    """Every configuration file with its content; kubeconfigs need the certificates to be there."""
    content = {
        paths.CONFIG / "kube-proxy.yaml": kube_proxy(),
        paths.CONFIG / "Corefile": corefile(),
        paths.CONFIG / "audit-policy.yaml": audit_policy(),
        paths.CONFIG / "resolv.conf": f"nameserver {API_ADDRESS}\n",
    }
    for identity in pki.CLIENTS:
        content[paths.CONFIG / f"{identity}.kubeconfig"] = pki.kubeconfig(identity)
    for node in nodes:
        folder = paths.CONFIG / node.name
        content[folder / "kubelet.yaml"] = kubelet(node)
        content[folder / "containerd.toml"] = containerd(node)
        content[folder / "cni" / "10-pods.conflist"] = pod_network(node)
        content[folder / "kubeconfig"] = pki.kubeconfig(node.name)
    return content


def _json(content: object) -> str:
    return json.dumps(content, indent=2) + "\n"
