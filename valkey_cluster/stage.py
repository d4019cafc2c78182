"""A stage: the full set of manifests that is to be true now.

`render` says what a spec asks for; `advance` says what of it may be applied to a cluster that runs, when only
some shards may follow it: every other shard keeps the template last applied to it, whatever the spec or a
newer valkeeper would render. A pod that crashes comes back as its shard is, and upgrading valkeeper restarts
nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from valkey_cluster import names
from valkey_cluster.digest import digest
from valkey_cluster.resources.config_map import config_map
from valkey_cluster.resources.disruption_budget import disruption_budget
from valkey_cluster.resources.service_account import service_account
from valkey_cluster.resources.services import client_service, headless_service
from valkey_cluster.resources.stateful_set import stateful_set

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from valkey_cluster.resources import Identity, Manifest
    from valkey_cluster.spec import ValkeyClusterSpec

Key = tuple[str, str]
"""Kind and name: what identifies a manifest within a stage."""


@dataclass(frozen=True)
class Stage:
    """Manifests in the order in which they are applied."""

    manifests: tuple[Manifest, ...]

    @cached_property
    def hash(self) -> str:
        """The same for the same manifests, on every machine and in every process."""
        return digest(self.manifests)

    @cached_property
    def by_key(self) -> Mapping[Key, Manifest]:
        """Each manifest under its kind and name."""
        return {key(manifest): manifest for manifest in self.manifests}


def key(manifest: Mapping[str, Any]) -> Key:
    """Kind and name of a manifest or of a live object."""
    return manifest["kind"], manifest["metadata"]["name"]


def template_of(manifest: Mapping[str, Any]) -> str:
    """Fingerprint of a StatefulSet's pod template: a pod with another one has to restart to follow."""
    meta = manifest["spec"]["template"]["metadata"]
    fingerprint: str = meta.get("annotations", {}).get(names.ANNOTATION_TEMPLATE, "")
    return fingerprint


def config_of(manifest: Mapping[str, Any]) -> str:
    """Name of the ConfigMap that the pods of a StatefulSet (or a pod itself) read."""
    pod = manifest["spec"].get("template", manifest)["spec"]
    return next((volume["configMap"]["name"] for volume in pod["volumes"] if "configMap" in volume), "")


def shard_of(manifest: Mapping[str, Any]) -> int:
    """Number of the shard that a StatefulSet or a pod belongs to, by its label."""
    return int(manifest["metadata"]["labels"][names.LABEL_SHARD])


def render(identity: Identity, spec: ValkeyClusterSpec) -> Stage:
    """Everything that the spec asks for, as this valkeeper writes it."""
    return Stage(
        (
            service_account(identity, spec),
            config_map(identity, spec),
            headless_service(identity, spec),
            client_service(identity, spec),
            *((disruption_budget(identity, spec),) if spec.pod_disruption_budget.enabled else ()),
            *(stateful_set(identity, spec, shard) for shard in range(spec.shards)),
        )
    )


def advance(
    applied: Stage,
    wanted: Stage,
    shards: Collection[int] = (),
    mounted: Collection[str] = (),
    retired: Collection[str] | None = None,
) -> Stage:
    """`wanted` as far as it restarts no pod and moves no data, and the templates of `shards` besides.

    Every other StatefulSet stays as applied. With `retired` (names of pods that belong to nobody any more),
    shards and replicas are added, and those pods are taken away; with None neither happens. A ConfigMap that
    a template or a running pod (`mounted`: names) still reads stays too.
    """
    sets = [
        sized
        for one in applied.manifests
        if one["kind"] == _SET and (sized := _sized(_advanced(one, wanted, shards), wanted, retired))
    ]
    known = {key(one) for one in sets}
    if retired is not None:
        gone = {key(one) for one in applied.manifests} - known
        fresh = (one for one in wanted.manifests if one["kind"] == _SET)
        sets += [one for one in fresh if key(one) not in known | gone]
    read = {*mounted, *(config_of(one) for one in sets)}
    configs = {key(one): one for one in (*applied.manifests, *wanted.manifests) if one["kind"] == _CONFIG}
    kept = [one for (_, name), one in sorted(configs.items()) if name in read]
    free = [one for one in wanted.manifests if one["kind"] not in (_CONFIG, _SET)]
    order = {"ServiceAccount": 0, _CONFIG: 1, _SET: 3}
    return Stage(tuple(sorted([*free, *kept, *sets], key=lambda one: order.get(one["kind"], 2))))


def _advanced(applied: Manifest, wanted: Stage, shards: Collection[int]) -> Manifest:
    new = wanted.by_key.get(key(applied))
    if new is None or shard_of(applied) not in shards or not can_follow(applied, new):
        return applied
    size = unsurged(applied)["spec"]["replicas"]
    kept = {**new, "spec": {**new["spec"], "replicas": size}}
    return surged(kept) if is_surged(applied) else kept


def _sized(manifest: Manifest, wanted: Stage, retired: Collection[str] | None) -> Manifest | None:
    """With as many pods as are wanted, if that is allowed; None for a shard of which none is."""
    new = wanted.by_key.get(key(manifest))
    has: int = manifest["spec"]["replicas"]
    asks: int = new["spec"]["replicas"] if new else 0
    if retired is None or is_surged(manifest) or has == asks:
        return manifest
    name = manifest["metadata"]["name"]
    if any(f"{name}-{ordinal}" not in retired for ordinal in range(asks, has)):
        return manifest
    return {**manifest, "spec": {**manifest["spec"], "replicas": asks}} if asks else None


def can_follow(applied: Manifest, new: Manifest) -> bool:
    """A StatefulSet's template can become the other's; its volumes and what selects its pods cannot."""
    fixed = ("volumeClaimTemplates", "selector", "serviceName")
    plain = unsurged(applied)
    return all(plain["spec"].get(part) == new["spec"].get(part) for part in fixed)


def is_surged(manifest: Manifest) -> bool:
    """The StatefulSet has a pod more than its shard asks for, while its only member is replaced."""
    return names.ANNOTATION_SURGE in manifest["metadata"].get("annotations", {})


def surged(manifest: Manifest) -> Manifest:
    """The StatefulSet with one pod more."""
    meta = manifest["metadata"]
    annotations = {**meta.get("annotations", {}), names.ANNOTATION_SURGE: "true"}
    spec = {**manifest["spec"], "replicas": manifest["spec"]["replicas"] + 1}
    return {**manifest, "metadata": {**meta, "annotations": annotations}, "spec": spec}


def unsurged(manifest: Manifest) -> Manifest:
    """The StatefulSet as its shard asks for."""
    if not is_surged(manifest):
        return manifest
    meta = {name: value for name, value in manifest["metadata"].items() if name != "annotations"}
    kept = {
        name: value
        for name, value in manifest["metadata"]["annotations"].items()
        if name != names.ANNOTATION_SURGE
    }
    spec = {**manifest["spec"], "replicas": manifest["spec"]["replicas"] - 1}
    return {**manifest, "metadata": {**meta, **({"annotations": kept} if kept else {})}, "spec": spec}


def with_set(stage: Stage, manifest: Manifest) -> Stage:
    """The stage with this StatefulSet in place of the one of its name."""
    return Stage(tuple(manifest if key(one) == key(manifest) else one for one in stage.manifests))


_CONFIG = "ConfigMap"
_SET = "StatefulSet"
