"""One environment: CRDs, rights, the daemon, its namespaces and its ValkeyClusters.

CRD ─┐
Namespaces ─┼─> rights ─> Deployment of the daemon ─> ValkeyClusters ─> each Ready
            └─ (retained on destroy: deleting the CRD would delete every cluster there is)
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pulumi
import pulumi_kubernetes as k8s
import yaml

from stacks import rights
from stacks.daemon import deployment
from stacks.ready import await_ready
from stacks.rules import problems
from valkey_cluster import names

if TYPE_CHECKING:
    from stacks.config import ClusterConfig, EnvironmentConfig

Wait = Callable[[str, str, float], str]
"""Waits for a cluster (namespace, name) at most so many seconds; gives its endpoint."""

_CRDS = Path(__file__).parent.parent / "crds"
_NAME = "valkeeper"
_RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}


def deploy(config: EnvironmentConfig, wait: Wait = await_ready) -> None:
    """Declare the environment; ends when its clusters are Ready, or fails with the reason.

    Raises:
        pulumi.RunError: a cluster breaks the environment's rules or its spec is not valid; nothing is made.
    """
    found = problems(config.rules, config.clusters)
    if found:
        raise pulumi.RunError(
            "the environment's clusters cannot be made:\n" + "\n".join(f"  {one}" for one in found)
        )
    opts = pulumi.ResourceOptions(provider=_provider())
    crds = _crds(opts)
    spaces = _namespaces(config, opts)
    granted = _rights(config, pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(depends_on=spaces)))
    needs = pulumi.ResourceOptions(depends_on=[*crds, *spaces, *granted])
    daemon = deployment(config.daemon, pulumi.ResourceOptions.merge(opts, needs))
    after = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(depends_on=[daemon]))

    def endpoint(cluster: ClusterConfig) -> str:
        if pulumi.runtime.is_dry_run():
            return names.endpoint(cluster.namespace, cluster.name)
        return wait(cluster.namespace, cluster.name, config.ready_timeout_seconds)

    for cluster in config.clusters:
        pulumi.export(f"{cluster.namespace}/{cluster.name}", _cluster(cluster, after, endpoint))


def _provider() -> k8s.Provider:
    """Finds the cluster by KUBECONFIG itself.

    The SDK would make the variable an input: a path of this machine in the state, and a copy of the file in
    the temporary folder at every update.
    """
    kubeconfig = os.environ.pop("KUBECONFIG", None)
    try:
        return k8s.Provider("kubernetes", enable_server_side_apply=True, cluster_identifier=_NAME)
    finally:
        if kubeconfig is not None:
            os.environ["KUBECONFIG"] = kubeconfig


def _crds(opts: pulumi.ResourceOptions) -> list[pulumi.Resource]:
    """Kept on destroy: with a definition every cluster of its kind would go, also other people's."""
    kept = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(retain_on_delete=True))
    manifests = [yaml.safe_load(path.read_text()) for path in sorted(_CRDS.glob("*.yaml"))]
    return [
        k8s.apiextensions.v1.CustomResourceDefinition(
            manifest["metadata"]["name"],
            metadata=_shared(manifest["metadata"]),
            spec=manifest["spec"],
            opts=kept,
        )
        for manifest in manifests
    ]


def _shared(metadata: dict[str, Any]) -> dict[str, Any]:
    """Two environments in one Kubernetes cluster share the definition: the last `pulumi up` has its way."""
    return {**metadata, "annotations": {"pulumi.com/patchForce": "true", **metadata.get("annotations", {})}}


def _namespaces(config: EnvironmentConfig, opts: pulumi.ResourceOptions) -> list[pulumi.Resource]:
    return [
        k8s.core.v1.Namespace(name, metadata={"name": name, "labels": _RESTRICTED}, opts=opts)
        for name in dict.fromkeys((config.daemon.namespace, *config.namespaces))
    ]


def _rights(config: EnvironmentConfig, opts: pulumi.ResourceOptions) -> list[pulumi.Resource]:
    """Roles and bindings; in watched namespaces only, when the daemon is confined to some."""
    space = config.daemon.namespace
    account = k8s.core.v1.ServiceAccount(_NAME, metadata={"name": _NAME, "namespace": space}, opts=opts)
    subjects = [{"kind": "ServiceAccount", "name": _NAME, "namespace": space}]
    rules = list(rights.NAMESPACED)
    if not config.daemon.watch:
        return [
            account,
            *_grant("", f"{_NAME}-{space}", [*rules, *rights.CLUSTER_WIDE], subjects, opts),
            *_grant(space, f"{_NAME}-lease", list(rights.OWN), subjects, opts),
        ]
    return [
        account,
        *_grant("", f"{_NAME}-{space}-nodes", list(rights.CLUSTER_WIDE), subjects, opts),
        *(made for watched in config.daemon.watch for made in _grant(watched, _NAME, rules, subjects, opts)),
        *_grant(space, f"{_NAME}-lease", list(rights.OWN), subjects, opts),
    ]


def _grant(
    space: str,
    name: str,
    rules: list[rights.Rule],
    subjects: list[dict[str, str]],
    opts: pulumi.ResourceOptions,
) -> list[pulumi.Resource]:
    """A role and its binding: in a namespace, or cluster-wide when `space` is empty."""
    api = k8s.rbac.v1
    kind: tuple[Any, Any] = (
        (api.Role, api.RoleBinding) if space else (api.ClusterRole, api.ClusterRoleBinding)
    )
    metadata = {"name": name, **({"namespace": space} if space else {})}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": kind[0].__name__, "name": name}
    label = f"{space}/{name}" if space else name
    return [
        kind[0](label, metadata=metadata, rules=rules, opts=opts),
        kind[1](label, metadata=metadata, role_ref=role, subjects=subjects, opts=opts),
    ]


def _cluster(
    cluster: ClusterConfig, opts: pulumi.ResourceOptions, endpoint: Callable[[ClusterConfig], str]
) -> pulumi.Output[str]:
    """The ValkeyCluster object, and its endpoint once it is Ready."""
    made: pulumi.CustomResource = k8s.apiextensions.CustomResource(
        f"{cluster.namespace}/{cluster.name}",
        api_version=names.API_VERSION,
        kind=names.KIND,
        metadata={"name": cluster.name, "namespace": cluster.namespace},
        spec=cluster.spec,
        opts=opts,
    )
    return made.id.apply(lambda _: endpoint(cluster))
