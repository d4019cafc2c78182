"""The programs that the nodes share: etcd, the API server, the controllers, DNS, storage and certificates.

All run as plain processes of this machine. The order of the table is the order in which they can start.
"""

from __future__ import annotations

import ssl
import sys
from typing import TYPE_CHECKING

from local import paths, pki
from local.config import DNS_READY, PROXY_HEALTH
from local.health import answers
from local.network import API_ADDRESS, SERVICE_RANGE
from local.processes import Program

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

ETCD_URL = "http://127.0.0.1:2379"
CERT_MANAGER_METRICS = "127.0.0.1:9402"
CERT_MANAGER_NAMESPACE = "cert-manager"
_VOLUMES = "import sys; sys.path.insert(0, {checkout!r}); from local import volumes; volumes.main()"


def admin_context() -> ssl.SSLContext:
    """TLS that trusts the cluster's authority and shows the administrator's certificate."""
    context = ssl.create_default_context(cafile=str(pki.certificate_file("ca")))
    context.load_cert_chain(pki.certificate_file("admin"), pki.key_file("admin"))
    return context


def etcd(parts: Mapping[str, Path]) -> Program:
    """Where the API server keeps everything; without fsync, because this cluster may be lost."""
    return Program(
        name="etcd",
        command=(
            str(parts["etcd"] / "bin" / "etcd"),
            f"--data-dir={paths.STATE / 'etcd'}",
            "--unsafe-no-fsync",
            f"--listen-client-urls={ETCD_URL}",
            f"--advertise-client-urls={ETCD_URL}",
            "--listen-peer-urls=http://127.0.0.1:2380",
            "--log-level=warn",
        ),
        healthy=lambda: answers(f"{ETCD_URL}/readyz"),
        hint="if its data is damaged (power was cut): `python -m local down`, then `up` makes a new cluster",
    )


def apiserver(parts: Mapping[str, Path]) -> Program:
    """The Kubernetes API, with an audit log of every request."""
    policy = paths.CONFIG / "audit-policy.yaml"
    return Program(
        name="apiserver",
        command=(
            str(parts["kubernetes"] / "bin" / "kube-apiserver"),
            f"--etcd-servers={ETCD_URL}",
            "--secure-port=6443",
            f"--bind-address={API_ADDRESS}",
            f"--advertise-address={API_ADDRESS}",
            f"--tls-cert-file={pki.certificate_file('apiserver')}",
            f"--tls-private-key-file={pki.key_file('apiserver')}",
            f"--client-ca-file={pki.certificate_file('ca')}",
            f"--kubelet-certificate-authority={pki.certificate_file('ca')}",
            f"--kubelet-client-certificate={pki.certificate_file('apiserver-kubelet')}",
            f"--kubelet-client-key={pki.key_file('apiserver-kubelet')}",
            "--kubelet-preferred-address-types=InternalIP",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--allow-privileged=true",
            f"--service-cluster-ip-range={SERVICE_RANGE}",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            f"--service-account-key-file={paths.PKI / 'service-accounts.pub'}",
            f"--service-account-signing-key-file={pki.key_file('service-accounts')}",
            f"--audit-policy-file={policy}",
            f"--audit-log-path={paths.AUDIT_LOG}",
            "--audit-log-maxsize=200",
            "--audit-log-maxbackup=2",
        ),
        healthy=lambda: answers(f"{pki.API_URL}/readyz", admin_context()),
        inputs=(policy,),
    )


def _client(name: str) -> tuple[str, ...]:
    kubeconfig = paths.CONFIG / f"{name}.kubeconfig"
    return (
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        "--leader-elect=false",
        "--bind-address=127.0.0.1",
        f"--tls-cert-file={pki.certificate_file(name)}",
        f"--tls-private-key-file={pki.key_file(name)}",
    )


def controller_manager(parts: Mapping[str, Path]) -> Program:
    """The controllers behind Deployments, StatefulSets, claims and the rest."""
    return Program(
        name="controller-manager",
        command=(
            str(parts["kubernetes"] / "bin" / "kube-controller-manager"),
            *_client("controller-manager"),
            f"--service-account-private-key-file={pki.key_file('service-accounts')}",
            f"--root-ca-file={pki.certificate_file('ca')}",
            f"--cluster-signing-cert-file={pki.certificate_file('ca')}",
            f"--cluster-signing-key-file={pki.key_file('ca')}",
            "--use-service-account-credentials",
        ),
        healthy=lambda: answers("https://127.0.0.1:10257/healthz", admin_context()),
    )


def scheduler(parts: Mapping[str, Path]) -> Program:
    """What puts pods on nodes."""
    return Program(
        name="scheduler",
        command=(str(parts["kubernetes"] / "bin" / "kube-scheduler"), *_client("scheduler")),
        healthy=lambda: answers("https://127.0.0.1:10259/healthz", admin_context()),
    )


def proxy(parts: Mapping[str, Path]) -> Program:
    """What makes the Services' addresses work."""
    config = paths.CONFIG / "kube-proxy.yaml"
    return Program(
        name="proxy",
        command=(str(parts["kubernetes"] / "bin" / "kube-proxy"), f"--config={config}"),
        healthy=lambda: answers(f"http://{PROXY_HEALTH}/healthz"),
        inputs=(config,),
    )


def coredns(parts: Mapping[str, Path]) -> Program:
    """The cluster's DNS."""
    config = paths.CONFIG / "Corefile"
    return Program(
        name="coredns",
        command=(str(parts["coredns"] / "bin" / "coredns"), "-conf", str(config)),
        healthy=lambda: answers(f"http://{DNS_READY}/ready"),
        inputs=(config,),
        hint=f"port 53 of {API_ADDRESS} must be free: see `ss -lnp sport = :53`",
    )


def volumes(_parts: Mapping[str, Path]) -> Program:
    """What makes a folder for each claim: a program of this package, which needs no more than Python."""
    return Program(
        name="volumes",
        command=(sys.executable, "-c", _VOLUMES.format(checkout=str(paths.CHECKOUT))),
        healthy=lambda: True,  # it has nothing to ask; that it runs is all there is to see
        inputs=tuple(paths.CHECKOUT / "local" / name for name in ("volumes.py", "kube.py")),
    )


def cert_manager(parts: Mapping[str, Path]) -> Program:
    """What issues certificates; its webhook and CA injector are left out."""
    return Program(
        name="cert-manager",
        command=(
            str(parts["cert-manager"] / "bin" / "cert-manager-controller"),
            f"--kubeconfig={paths.CONFIG / 'cert-manager.kubeconfig'}",
            "--leader-elect=false",
            f"--cluster-resource-namespace={CERT_MANAGER_NAMESPACE}",
            f"--metrics-listen-address={CERT_MANAGER_METRICS}",
        ),
        healthy=lambda: answers(f"http://{CERT_MANAGER_METRICS}/metrics"),
    )


API: tuple[Callable[[Mapping[str, Path]], Program], ...] = (etcd, apiserver)
"""Each needs the one before."""
CONTROLLERS: tuple[Callable[[Mapping[str, Path]], Program], ...] = (
    controller_manager,
    scheduler,
    proxy,
    coredns,
)
"""Need the API, in no order."""
ADDONS: tuple[Callable[[Mapping[str, Path]], Program], ...] = (volumes, cert_manager)
"""Need objects in the API first."""
