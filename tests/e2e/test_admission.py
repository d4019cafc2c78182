"""The tables of good and bad specs, judged by a real API server: it and pydantic must agree.

The definition is installed under a group of this test, so that no daemon sees what is created here and
the schema under test is the one of this checkout.
"""

from __future__ import annotations

import json
import re
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from lightkube.config.client_adapter import Client, ConnectionParams
from lightkube.config.kubeconfig import KubeConfig

from tests.unit.odd_specs import odd_specs
from tests.unit.spec_cases import BAD, CHANGES, GOOD, MANY_PROBLEMS, Bad, Change, Good
from valkey_cluster import crd, names
from valkey_cluster.errors import SpecError
from valkey_cluster.spec import parse
from valkey_cluster.status_model import (
    ClusterStatus,
    ConditionStatus,
    Health,
    ShardStatus,
    StageStatus,
    StepStatus,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import httpx2

pytestmark = pytest.mark.e2e

GROUP = f"admission-test.{names.GROUP}"
NAMESPACE = "default"
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
OBJECTS = f"/apis/{GROUP}/{names.VERSION}/namespaces/{NAMESPACE}/{names.PLURAL}"
WITHIN_S = 30
REFUSED = {400, 422}


@dataclass(frozen=True)
class Server:
    """The API server, asked without storing anything unless a test says so."""

    http: httpx2.Client
    kubeconfig: Path

    def create(self, spec: Any, name: str, *, dry_run: bool = True) -> httpx2.Response:
        query = {"fieldValidation": "Strict", **({"dryRun": "All"} if dry_run else {})}
        return self.http.post(OBJECTS, params=query, json=_object(spec, name))

    def update(self, stored: dict[str, Any], spec: Any) -> httpx2.Response:
        name = stored["metadata"]["name"]
        query = {"fieldValidation": "Strict", "dryRun": "All"}
        return self.http.put(f"{OBJECTS}/{name}", params=query, json={**stored, "spec": spec})

    def kubectl_apply(self, *objects: dict[str, Any]) -> subprocess.CompletedProcess[str]:
        command = ["kubectl", "--kubeconfig", str(self.kubeconfig), "apply", "--dry-run=server", "-f", "-"]
        manifest = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
        return subprocess.run(
            command, input=manifest, text=True, capture_output=True, check=False, timeout=120
        )


def _object(spec: Any, name: str) -> dict[str, Any]:
    return {
        "apiVersion": f"{GROUP}/{names.VERSION}",
        "kind": names.KIND,
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": spec,
    }


@pytest.fixture(scope="module")
def server(kubeconfig: Path) -> Iterator[Server]:
    definition = crd.crd()
    definition["metadata"]["name"] = f"{names.PLURAL}.{GROUP}"
    definition["spec"]["group"] = GROUP
    definition["spec"]["names"] |= {"shortNames": [], "categories": []}
    with Client(KubeConfig.from_file(kubeconfig).get(), ConnectionParams()) as http:
        _remove(http)  # an earlier run may have been killed
        made = http.post(DEFINITIONS, json=definition)
        assert made.status_code == 201, made.text
        try:
            _wait_until(lambda: http.get(OBJECTS).is_success)
            yield Server(http, kubeconfig)
        finally:
            _remove(http)


def _remove(http: httpx2.Client) -> None:
    path = f"{DEFINITIONS}/{names.PLURAL}.{GROUP}"
    assert http.delete(path).status_code in {200, 404}
    _wait_until(lambda: http.get(path).status_code == 404)


def _wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not holds():
        assert time.monotonic() < deadline, f"not within {WITHIN_S} s"
        time.sleep(0.1)


def _judged(spec: Any, name: str) -> str:
    """What pydantic says against it; empty: nothing."""
    try:
        parse(spec, name)
    except SpecError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("case", GOOD, ids=lambda case: case.id)
def test_the_api_server_takes_a_good_spec_and_fills_in_the_same_defaults(server: Server, case: Good):
    answer = server.create(case.spec, case.name)
    assert answer.status_code == 201, answer.text
    assert parse(answer.json()["spec"], case.name) == parse(case.spec, case.name)


@pytest.mark.parametrize("case", [*BAD, MANY_PROBLEMS], ids=lambda case: case.id)
def test_the_api_server_refuses_a_bad_spec(server: Server, case: Bad):
    answer = server.create(case.spec, case.name)
    assert answer.status_code in REFUSED, answer.text


@pytest.mark.parametrize("case", BAD, ids=lambda case: case.id)
def test_kubectl_refuses_a_bad_spec(server: Server, case: Bad):
    done = server.kubectl_apply(_object(case.spec, case.name))
    assert done.returncode != 0, done.stdout
    assert re.search(
        "is invalid:|error validating data|strict decoding error|error when creating", done.stderr
    )


def test_kubectl_takes_all_good_specs(server: Server):
    objects = [_object(case.spec, f"good-{number}") for number, case in enumerate(GOOD)]
    done = server.kubectl_apply(*objects)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("created (server dry run)") == len(GOOD)


def test_a_message_of_a_rule_reaches_the_user(server: Server):
    answer = server.create({"shards": 3, "tls": {"enabled": True}, "config": {"port": "1"}}, "demo")
    message = answer.json()["message"]
    assert "TLS is not supported yet" in message
    assert "valkeeper decides which addresses and ports nodes use" in message


@settings(max_examples=300, deadline=None)
@given(spec=odd_specs())
def test_pydantic_and_the_api_server_agree_on_odd_specs(server: Server, spec: Any):
    answer = server.create(spec, "demo")
    against = _judged(spec, "demo")
    assert answer.status_code in {201, *REFUSED}, answer.text
    assert (answer.status_code == 201) == (against == ""), f"{spec!r}\npydantic: {against}\n{answer.text}"
    if not against:
        assert parse(answer.json()["spec"], "demo") == parse(spec, "demo")


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.id)
def test_the_api_server_refuses_what_cannot_be_changed(server: Server, change: Change):
    name = "change-" + change.id.replace(" ", "-").replace(",", "")[:30]
    made = server.create(change.old, name, dry_run=False)
    assert made.status_code == 201, made.text
    answer = server.update(made.json(), change.new)
    assert (answer.status_code == 200) == (not change.says), answer.text
    for field in change.says:
        assert f"spec.{field}" in answer.json()["message"]


def test_defaults_of_a_stored_cluster_show_in_kubectl_explain(server: Server):
    command = [
        "kubectl",
        "--kubeconfig",
        str(server.kubeconfig),
        "explain",
        "--api-version",
        f"{GROUP}/{names.VERSION}",
    ]
    done = subprocess.run(
        [*command, f"{names.PLURAL}.spec.persistence"], text=True, capture_output=True, check=True, timeout=60
    )
    assert "May grow, never shrink" in done.stdout


def test_status_and_scale_are_served_as_the_daemon_and_an_autoscaler_use_them(server: Server):
    assert server.create({"shards": 3}, "served", dry_run=False).status_code == 201
    status = ClusterStatus(
        phase=names.Phase.RUNNING,
        shards=3,
        members="6/6",
        selector="valkeeper.io/cluster=served",
        conditions=(
            ConditionStatus(
                type=names.Condition.READY,
                status="True",
                reason="AllSlotsServed",
                message="all slots are served",
                last_transition_time="2026-11-23T12:00:00Z",
                observed_generation=1,
            ),
        ),
        step=StepStatus(kind="Wait", because="nothing to do", since="2026-11-23T12:00:00Z"),
        topology=(
            ShardStatus(shard=0, slots="0-5460", primary="a-0-0", replicas=("a-0-1",), health=Health.OK),
        ),
        stage=StageStatus(hash="abc", generation=1),
        plan=("nothing",),
    ).as_manifest()
    written = server.http.patch(
        f"{OBJECTS}/served/status",
        params={"fieldValidation": "Strict"},
        content=json.dumps({"status": status}),
        headers={"Content-Type": "application/merge-patch+json"},
    )
    assert written.status_code == 200, written.text
    assert written.json()["status"] == status
    scale = server.http.get(f"{OBJECTS}/served/scale").json()
    assert scale["spec"] == {"replicas": 3}
    assert scale["status"] == {"replicas": 3, "selector": "valkeeper.io/cluster=served"}
