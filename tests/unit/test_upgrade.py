"""A ValkeyUpgrade from its first look to each of its ends, and what the cluster does at each phase."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
from views import NOW, spec_of, whole_view, with_pod

from daemon.decide import decide
from daemon.decide.upgrade import follow
from daemon.plan import _PRETEND
from daemon.steps import (
    Blocked,
    CreateUpgrade,
    DeleteClaims,
    Evict,
    Provision,
    Steady,
    Step,
    Wait,
    WriteVersion,
    kind,
)
from daemon.topology import Claim, PodName, Upgrade, View
from valkey_cluster.names import UpgradePhase as Phase
from valkey_cluster.spec import parse_upgrade
from valkey_cluster.upgrade_status import UpgradeStatus

OLD, NEW = "8.1.1", "9.1.2"


def asked(version: str = NEW, **fields: Any) -> Upgrade:
    """A ValkeyUpgrade that nobody has looked at yet."""
    spec = parse_upgrade(
        {"clusterRef": {"name": "demo"}, "version": version, "soakSeconds": 30, **fields}, "up"
    )
    return Upgrade("up", "uid-up", 1, spec, "", UpgradeStatus())


def cluster(version: str = OLD, **fields: Any) -> View:
    """A whole cluster of three shards in the version, with its claims."""
    view = whole_view(spec_of(version=version, **fields))
    return replace(view, claims=tuple(Claim(f"data-{pod.name}", f"uid-{pod.name}") for pod in view.pods))


@dataclass
class Story:
    """A cluster that is looked at again and again; all that is done succeeds at once."""

    view: View
    steps: list[Step]

    @classmethod
    def of(cls, view: View, upgrade: Upgrade | None) -> Story:
        return cls(replace(view, upgrade=upgrade), [])

    @property
    def phase(self) -> Phase | None:
        return self.view.upgrade.status.phase if self.view.upgrade else None

    def look(self) -> Step:
        """One pass: status first, then the step."""
        step = decide(self.view)
        status = follow(self.view)
        if status is not None and self.view.upgrade:
            self.view = replace(self.view, upgrade=replace(self.view.upgrade, status=status))
        if type(step) in _PRETEND:
            self.view = self._aged(_PRETEND[type(step)](self.view, step))
        elif isinstance(step, WriteVersion):
            assert self.view.spec
            self.view = replace(self.view, spec=self.view.spec.model_copy(update={"version": step.version}))
        self.steps.append(step)
        return step

    def _aged(self, view: View) -> View:
        """Each server says the version of the image that its pod was made from."""
        pods = []
        for pod in view.pods:
            image = view.sets[pod.shard]["spec"]["template"]["spec"]["containers"][0]["image"]
            version = image.rpartition(":")[2]
            fresh = (
                pod.template
                == view.sets[pod.shard]["spec"]["template"]["metadata"]["annotations"][
                    "valkeeper.io/template"
                ]
            )
            server = replace(pod.server, version=version) if pod.server and fresh else pod.server
            pods.append(replace(pod, server=server))
        return replace(view, pods=tuple(pods))

    def until(self, *phases: Phase, passes: int = 60) -> Story:
        for _ in range(passes):
            if self.phase in phases:
                return self
            self.look()
        raise AssertionError(f"{self.phase}, not {phases}: {self.view.upgrade}, {self.steps[-3:]}")

    def rest(self, passes: int = 40) -> Step:
        """The step at which nothing changes any more."""
        for _ in range(passes):
            if isinstance(self.look(), Steady | Blocked):
                break
        return self.steps[-1]

    def kinds(self) -> list[str]:
        return [kind(step) for step in self.steps]

    def versions(self) -> list[str]:
        return sorted({pod.server.version for pod in self.view.pods if pod.server})

    def later(self, seconds: float) -> None:
        self.view = replace(self.view, now=self.view.now + seconds)

    def annotate(self, **said: bool) -> None:
        assert self.view.upgrade
        self.view = replace(self.view, upgrade=replace(self.view.upgrade, **said))

    def break_pod(self, name: str, **facts: Any) -> None:
        self.view = with_pod(self.view, name, server=None, runs=False, ready=False, **facts)

    def history(self) -> list[str]:
        assert self.view.upgrade
        return [one.phase for one in self.view.upgrade.status.history]


def test_the_canary_goes_first_soaks_is_judged_and_the_rest_follows() -> None:
    story = Story.of(cluster(), asked()).until(Phase.SOAKING)
    assert story.kinds().count("Evict") == 2
    assert story.versions() == [OLD, NEW]
    story.look()
    assert story.phase is Phase.SOAKING, "the soak is not over"
    story.later(31)
    story.until(Phase.SUCCEEDED)
    assert story.kinds().count("Evict") == 6
    assert story.versions() == [NEW]
    assert story.view.spec
    assert story.view.spec.version == NEW, "the ValkeyCluster says so too"
    assert story.history() == [Phase.PENDING, Phase.CANARY, Phase.SOAKING, Phase.ROLLING, Phase.SUCCEEDED]
    assert story.view.applied
    assert story.view.applied.spec.version == NEW


def test_an_edited_version_makes_an_upgrade_and_touches_nothing_before() -> None:
    view = replace(cluster(), spec=spec_of(version=NEW, annotations={"a": "b"}))
    step = decide(view)
    assert step == CreateUpgrade("demo-9-1-2", NEW, step.because)
    story = Story.of(view, replace(asked(), by_edit=True)).until(Phase.SOAKING)
    story.later(31)
    story.until(Phase.SUCCEEDED)
    assert story.kinds().count("Evict") == 6, "what was edited with the version takes no second roll"
    assert "WriteVersion" not in story.kinds()
    story.view = replace(story.view, upgrade=None)
    assert isinstance(story.rest(), Steady)


def test_a_second_upgrade_to_a_version_gets_a_name_of_its_own() -> None:
    ended = replace(asked(), name="demo-9-1-2", status=UpgradeStatus(phase=Phase.SUCCEEDED))
    step = decide(replace(cluster(), spec=spec_of(version=NEW), ended_upgrades=(ended,)))
    assert isinstance(step, CreateUpgrade)
    assert step.name == "demo-9-1-2-2"


def test_other_edits_wait_until_the_upgrade_has_ended() -> None:
    story = Story.of(cluster(), asked()).until(Phase.CANARY)
    story.look()
    story.view = replace(story.view, spec=spec_of(version=OLD, config={"databases": "4"}))
    story.until(Phase.SOAKING)
    assert not any("databases" in str(step) for step in story.steps)
    story.later(31)
    story.until(Phase.SUCCEEDED)
    story.view = replace(story.view, upgrade=None)
    story.rest()
    assert story.kinds().count("Evict") == 12, "and then they are followed"


@pytest.mark.parametrize(
    ("before", "target", "fields", "word"),
    [
        (NEW, OLD, {}, "data files"),
        (OLD, OLD, {}, "runs it already"),
        (OLD, NEW, {"config": {"events-per-io-thread": "2"}}, "events-per-io-thread"),
    ],
    ids=["downgrade", "same", "directive"],
)
def test_what_can_not_go_well_is_refused_and_nothing_is_touched(
    before: str, target: str, fields: dict[str, Any], word: str
) -> None:
    story = Story.of(cluster(before, **fields), asked(target)).until(Phase.REFUSED)
    assert story.view.upgrade
    assert word in (story.view.upgrade.status.message or "")
    assert set(story.kinds()) <= {"Wait", "Steady"}


def test_it_begins_when_the_cluster_is_whole() -> None:
    story = Story.of(cluster(), asked())
    story.view = with_pod(story.view, "demo-1-1", ready=False)
    for _ in range(3):
        story.look()
    assert story.phase is Phase.CHECKING
    story.view = with_pod(story.view, "demo-1-1", ready=True)
    story.until(Phase.CANARY)


@pytest.mark.parametrize("trouble", ["ImagePullBackOff: no such image", "CrashLoopBackOff: back-off"])
def test_a_pod_that_does_not_start_takes_template_and_pods_back(trouble: str) -> None:
    story = Story.of(cluster(), asked()).until(Phase.CANARY)
    while "Evict" not in story.kinds():
        story.look()
    story.break_pod("demo-0-1", trouble=trouble)
    story.look()
    assert story.phase is Phase.ROLLING_BACK
    while story.kinds()[-1] != "Evict":
        story.look()
    assert story.kinds()[-2] == "Provision"
    assert story.steps[-1] == Evict(PodName("demo-0-1"), story.steps[-1].uid, story.steps[-1].because)  # type: ignore[union-attr]
    healthy = next(pod for pod in cluster().pods if pod.name == "demo-0-1")
    story.view = with_pod(story.view, "demo-0-1", server=healthy.server, runs=True, ready=True, trouble="")
    story.until(Phase.ROLLED_BACK)
    assert story.versions() == [OLD]
    assert trouble in (story.view.upgrade.status.message or "")  # type: ignore[union-attr]
    assert story.view.applied
    assert story.view.applied.spec.version == OLD


def test_what_has_failed_is_not_tried_again_by_itself() -> None:
    status = UpgradeStatus(phase=Phase.ROLLED_BACK, message="demo-0-1 does not start")
    step = decide(
        replace(cluster(), spec=spec_of(version=NEW), ended_upgrades=(replace(asked(), status=status),))
    )
    assert isinstance(step, Blocked)
    assert step.reason == "UpgradeFailed"
    assert "demo-0-1 does not start" in step.because
    assert "delete ValkeyUpgrade up" in step.remedy


def test_an_abort_after_the_canary_takes_back_pods_and_the_volumes_that_the_older_version_cannot_read() -> (
    None
):
    story = Story.of(cluster(), asked(approval="AfterCanary")).until(Phase.SOAKING)
    story.later(31)
    story.until(Phase.WAITING_FOR_APPROVAL)
    assert isinstance(story.look(), Wait)
    story.annotate(abort=True)
    story.until(Phase.ABORTED)
    assert story.versions() == [OLD]
    gone = [claim.name for step in story.steps if isinstance(step, DeleteClaims) for claim in step.claims]
    assert sorted(gone) == ["data-demo-0-0", "data-demo-0-1"]
    taken = [(kind(step)) for step in story.steps if isinstance(step, DeleteClaims | Evict)]
    assert taken[2:] == ["DeleteClaims", "Evict", "DeleteClaims", "Evict"], "a claim first, then its pod"


def test_within_one_data_format_no_volume_goes_on_the_way_back() -> None:
    story = Story.of(cluster("9.1.1"), asked(approval="AfterCanary")).until(Phase.SOAKING)
    story.annotate(abort=True)
    story.until(Phase.ABORTED)
    assert "DeleteClaims" not in story.kinds()
    assert story.versions() == ["9.1.1"]


def test_an_abort_before_the_start_changes_nothing() -> None:
    story = Story.of(cluster(), asked(approval="BeforeStart")).until(Phase.WAITING_FOR_APPROVAL)
    story.annotate(abort=True)
    story.until(Phase.ABORTED)
    assert set(story.kinds()) <= {"Wait", "Steady"}


def test_approvals_are_waited_for_where_they_were_asked_for() -> None:
    story = Story.of(cluster(), asked(approval="BeforeStart")).until(Phase.WAITING_FOR_APPROVAL)
    for _ in range(3):
        assert isinstance(story.look(), Wait)
    story.annotate(approve=True)
    story.until(Phase.SOAKING)


def test_a_pause_stops_the_next_shard_and_not_the_pods_of_this_one() -> None:
    story = Story.of(cluster(), asked(canary={"shards": 0})).until(Phase.ROLLING)
    while "Evict" not in story.kinds():
        story.look()
    story.annotate(pause=True)
    story.until(Phase.PAUSED)
    for _ in range(10):
        story.look()
    assert story.kinds().count("Evict") == 2, "the shard that was begun is finished, no other is begun"
    assert story.kinds().count("Provision") == 1
    story.annotate(pause=False)
    story.until(Phase.SUCCEEDED)
    assert story.versions() == [NEW]


GATES = [
    ({"maxErrorReplies": 10}, {"error_replies": 500, "uptime_s": 60}, "error replies a minute"),
    ({"maxEvictedKeys": 10}, {"evicted_keys": 500, "uptime_s": 60}, "evicted keys a minute"),
    ({"maxLatencyPercent": 200}, {"command_calls": 100, "command_usec": 100_000}, "% of before"),
    ({"maxLagBytes": 10}, {"offset": 10_000}, "bytes behind"),
]


@pytest.mark.parametrize(("gates", "facts", "word"), GATES, ids=[word for _, _, word in GATES])
def test_a_canary_that_does_not_pass_a_gate_is_taken_back(
    gates: dict[str, Any], facts: dict[str, Any], word: str
) -> None:
    view = cluster()
    for pod in view.pods:
        assert pod.server
        calm = replace(pod.server, uptime_s=600, command_calls=100, command_usec=1_000)
        view = with_pod(view, pod.name, server=calm)
    story = Story.of(view, asked(gates=gates)).until(Phase.SOAKING)
    primary = story.view.primary(0)
    assert primary
    assert primary.server
    story.view = with_pod(story.view, primary.name, server=replace(primary.server, **facts))
    story.later(31)
    story.look()
    assert story.phase is Phase.ROLLING_BACK
    assert story.view.upgrade
    assert word in (story.view.upgrade.status.message or "")


def test_on_failure_pause_leaves_everything_as_it_is() -> None:
    story = Story.of(cluster(), asked(onFailure="Pause")).until(Phase.CANARY)
    while "Evict" not in story.kinds():
        story.look()
    story.break_pod("demo-0-1", trouble="CrashLoopBackOff: back-off")
    story.until(Phase.PAUSED)
    for _ in range(3):
        assert isinstance(story.look(), Wait)
    assert story.phase is Phase.PAUSED


def test_a_shard_that_takes_too_long_is_a_failure() -> None:
    story = Story.of(cluster(), asked(shardTimeoutSeconds=60)).until(Phase.CANARY)
    while "Evict" not in story.kinds():
        story.look()
    story.view = with_pod(story.view, "demo-0-1", server=None, unreachable="loading its data", ready=False)
    story.look()
    assert story.phase is Phase.CANARY
    story.later(61)
    story.look()
    assert story.phase is Phase.ROLLING_BACK
    assert "took longer than 60 s" in (story.view.upgrade.status.message or "")  # type: ignore[union-attr]


def test_status_tells_of_each_shard_and_of_the_time() -> None:
    story = Story.of(cluster(), asked()).until(Phase.SOAKING)
    assert story.view.upgrade
    status = story.view.upgrade.status
    assert [(one.shard, one.phase, one.version) for one in status.shards] == [
        (0, "Done", NEW),
        (1, "Waiting", OLD),
        (2, "Waiting", OLD),
    ]
    assert status.from_version == OLD
    assert status.started_at
    assert status.soak_until
    assert status.finished_at is None
    assert not isinstance(decide(replace(story.view, now=NOW + 5)), Provision)
