"""Affinity of one shard's pods: its copies apart, and what the user asked for on top."""

from __future__ import annotations

from typing import TYPE_CHECKING

from valkey_cluster import names

if TYPE_CHECKING:
    from valkey_cluster.resources import Identity, Manifest
    from valkey_cluster.spec import ValkeyClusterSpec

_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_WEIGHT = {names.LABEL_HOST: 100, names.LABEL_ZONE: 50}


def shard_apart(identity: Identity, spec: ValkeyClusterSpec, shard: int) -> Manifest:
    """Two copies of a slot on one node or in one zone are lost together: keep them apart.

    `spec.scheduling.nodes` and `.zones` say whether that is a wish (Preferred), a condition
    (Required: a pod that has no place of its own stays Pending) or left to the user (Disabled).
    The user's own terms are kept beside ours.
    """
    ours: dict[str, list[Manifest]] = {_PREFERRED: [], _REQUIRED: []}
    wishes = ((names.LABEL_HOST, spec.scheduling.nodes), (names.LABEL_ZONE, spec.scheduling.zones))
    for topology, wish in wishes:
        term = {
            "topologyKey": topology,
            "labelSelector": {"matchLabels": names.shard_selector(identity.name, shard)},
        }
        if wish == "Required":
            ours[_REQUIRED].append(term)
        elif wish == "Preferred":
            ours[_PREFERRED].append({"weight": _WEIGHT[topology], "podAffinityTerm": term})
    given: Manifest = spec.scheduling.affinity.as_manifest() if spec.scheduling.affinity else {}
    theirs = given.get("podAntiAffinity", {})
    both = {when: [*theirs.get(when, []), *terms] for when, terms in ours.items()}
    apart = {when: terms for when, terms in both.items() if terms}
    others = {part: value for part, value in given.items() if part != "podAntiAffinity"}
    return others | ({"podAntiAffinity": apart} if apart else {})
