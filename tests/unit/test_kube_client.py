"""What goes over the wire, and which error each odd answer becomes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from kube_server import KubeServer, serving, status
from lightkube.config.kubeconfig import KubeConfig
from lightkube.config.models import Cluster, User

from daemon.kube import errors
from daemon.kube.api import ALWAYS, Precondition, Selection, WatchEvent
from daemon.kube.client import LightkubeApi, Timeouts, config_from_env
from daemon.kube.kinds import CONFIG_MAP, EVENT, NODE, POD, STATEFUL_SET, VALKEY_CLUSTER, Resource

if TYPE_CHECKING:
    from pathlib import Path

MAPS = "/api/v1/namespaces/n/configmaps"
PODS = "/api/v1/namespaces/n/pods"


@pytest.mark.parametrize(
    ("resource", "args", "path"),
    [
        (POD, ("n", "p"), "/api/v1/namespaces/n/pods/p"),
        (POD, (None,), "/api/v1/pods"),
        (POD, ("n", "p", "resize"), "/api/v1/namespaces/n/pods/p/resize"),
        (NODE, (None, "x"), "/api/v1/nodes/x"),
        (STATEFUL_SET, ("n",), "/apis/apps/v1/namespaces/n/statefulsets"),
        (EVENT, ("n",), "/apis/events.k8s.io/v1/namespaces/n/events"),
        (
            VALKEY_CLUSTER,
            ("n", "c", "status"),
            "/apis/valkeeper.io/v1alpha1/namespaces/n/valkeyclusters/c/status",
        ),
    ],
)
def test_where_each_kind_lives(resource: Resource, args: tuple[Any, ...], path: str) -> None:
    assert resource.path(*args) == path


@pytest.mark.parametrize(
    ("code", "reason", "error"),
    [
        (400, "BadRequest", errors.BadRequest),
        (401, "Unauthorized", errors.Unauthorized),
        (403, "Forbidden", errors.Forbidden),
        (404, "NotFound", errors.NotFound),
        (409, "AlreadyExists", errors.AlreadyExists),
        (409, "Conflict", errors.Conflict),
        (410, "Expired", errors.Gone),
        (422, "Invalid", errors.Invalid),
        (429, "TooManyRequests", errors.TooManyRequests),
        (500, "InternalError", errors.ServerError),
        (504, "Timeout", errors.ServerError),
        (418, "", errors.Refused),
    ],
)
async def test_each_refusal_has_its_error(code: int, reason: str, error: type[errors.Refused]) -> None:
    async with serving() as (server, api):
        server.answer_next("GET", code, status(code, reason, "because"))
        with pytest.raises(errors.ApiError, match="because") as caught:
            await api.get(CONFIG_MAP, "n", "a")
        assert type(caught.value) is error
        assert isinstance(caught.value, errors.Refused)
        assert (caught.value.code, caught.value.reason) == (code, reason)


async def test_an_answer_of_a_proxy_keeps_its_text() -> None:
    async with serving() as (server, api):
        server.answer_next("GET", 502, "<h1>Bad gateway</h1>")
        with pytest.raises(errors.ServerError, match="Bad gateway"):
            await api.get(CONFIG_MAP, "n", "a")
        server.answer_next("GET", 200, "<h1>Log in first</h1>")
        with pytest.raises(errors.Unreachable, match="not a JSON object"):
            await api.get(CONFIG_MAP, "n", "a")


@pytest.mark.parametrize(
    ("header", "details", "expected_s"),
    [
        ("7", None, 7),
        (None, {"retryAfterSeconds": 10}, 10),
        ("7", {"retryAfterSeconds": 10}, 7),
        ("86400", None, errors.RETRY_AFTER_MAX_S),
        ("Wed, 21 Oct 2026 07:28:00 GMT", None, None),
        (None, None, None),
    ],
)
async def test_how_long_the_server_asks_for_peace(
    header: str | None, details: dict[str, Any] | None, expected_s: float | None
) -> None:
    async with serving() as (server, api):
        headers = {"Retry-After": header} if header else None
        server.answer_next("GET", 429, status(429, "TooManyRequests", details=details), headers)
        with pytest.raises(errors.TooManyRequests) as caught:
            await api.get(CONFIG_MAP, "n", "a")
        assert caught.value.retry_after_s == expected_s


async def test_a_refused_eviction_and_a_resize_too_large_are_known_by_their_causes() -> None:
    async with serving() as (server, api):
        uid = (await server.put(PODS, "p"))["metadata"]["uid"]
        budget = {"causes": [{"reason": "DisruptionBudget", "message": "needs 3, has 3"}]}
        server.answer_next("POST", 429, status(429, "TooManyRequests", details=budget))
        with pytest.raises(errors.TooManyRequests) as evicting:
            await api.evict("n", "p", uid=uid)
        assert evicting.value.causes == {"DisruptionBudget"}
        capacity = {"causes": [{"reason": "NodeCapacity"}]}
        server.answer_next("PATCH", 403, status(403, "Forbidden", details=capacity))
        with pytest.raises(errors.Forbidden) as resizing:
            await api.resize("n", "p", {"spec": {}}, uid=uid)
        assert resizing.value.causes == {"NodeCapacity"}


async def test_no_server_no_answer_and_a_torn_answer_are_unreachable() -> None:
    async with serving(Timeouts(request_s=0.1)) as (server, api):
        server.hung = {"GET"}
        with pytest.raises(errors.Unreachable):
            await api.get(CONFIG_MAP, "n", "a")
        await server.stop()
        with pytest.raises(errors.Unreachable):
            await api.get(CONFIG_MAP, "n", "a")


async def test_preconditions_travel_with_patches_and_deletes() -> None:
    async with serving() as (server, api):
        meta = (await server.put(MAPS, "a"))["metadata"]
        seen = Precondition(meta["uid"], meta["resourceVersion"])
        new = await api.merge_patch(CONFIG_MAP, "n", "a", {"metadata": {"labels": {"x": "y"}}}, seen)
        assert new["metadata"]["labels"] == {"x": "y"}
        with pytest.raises(errors.Conflict):
            await api.merge_patch(CONFIG_MAP, "n", "a", {"data": {}}, seen)
        with pytest.raises(errors.Conflict):
            await api.merge_patch(CONFIG_MAP, "n", "a", {"data": {}}, Precondition(uid="other"))
        await api.delete(CONFIG_MAP, "n", "a", seen)
        assert server.seen[-1].body["preconditions"] == seen.fields()
        assert server.seen[-1].body["propagationPolicy"] == "Background"
        await server.put(MAPS, "b")
        await api.delete(CONFIG_MAP, "n", "b", ALWAYS, orphan=True)
        assert server.seen[-1].body["preconditions"] == {}
        assert server.seen[-1].body["propagationPolicy"] == "Orphan"


async def test_apply_names_its_manager_and_fills_in_the_kind() -> None:
    async with serving() as (server, api):
        await server.put(MAPS, "a")
        await api.apply(CONFIG_MAP, {"metadata": {"namespace": "n", "name": "a"}, "data": {}}, manager="me")
        sent = server.seen[-1]
        assert (sent.method, sent.content_type) == ("PATCH", "application/apply-patch+yaml")
        assert sent.query == {"fieldManager": "me", "force": "false"}
        assert (sent.body["apiVersion"], sent.body["kind"]) == ("v1", "ConfigMap")


async def test_a_status_goes_alone_and_only_onto_the_version_that_was_read() -> None:
    async with serving() as (server, api):
        clusters = "/apis/valkeeper.io/v1alpha1/namespaces/n/valkeyclusters"
        await server.put(f"{clusters}/c", "status")
        read = {
            "metadata": {
                "namespace": "n",
                "name": "c",
                "uid": "u",
                "resourceVersion": "9",
                "managedFields": [],
            },
            "spec": {"shards": 3},
        }
        server.answer_next("PATCH", 200, read)
        await api.apply_status(VALKEY_CLUSTER, read | {"status": {"phase": "Running"}}, manager="st")
        sent = server.seen[-1]
        assert sent.path == f"{clusters}/c/status"
        assert sent.query == {"fieldManager": "st", "force": "true"}
        assert sent.body == {
            "apiVersion": "valkeeper.io/v1alpha1",
            "kind": "ValkeyCluster",
            "metadata": {"namespace": "n", "name": "c", "resourceVersion": "9"},
            "status": {"phase": "Running"},
        }


async def test_evictions_and_resizes_hit_the_pod_that_was_meant() -> None:
    async with serving() as (server, api):
        uid = (await server.put(PODS, "p"))["metadata"]["uid"]
        with pytest.raises(errors.Conflict):
            await api.evict("n", "p", uid="other")
        assert server.count("POST") == 0
        await api.evict("n", "p", uid=uid)
        assert server.seen[-1].path == f"{PODS}/p/eviction"
        assert server.seen[-1].body["deleteOptions"] == {"preconditions": {"uid": uid}}
        server.answer_next("PATCH", 200, {})
        await api.resize("n", "p", {"spec": {"containers": []}}, uid=uid)
        assert server.seen[-1].path == f"{PODS}/p/resize"
        assert server.seen[-1].content_type == "application/strategic-merge-patch+json"
        assert server.seen[-1].body == {"metadata": {"uid": uid}, "spec": {"containers": []}}


async def watched(api: LightkubeApi, count: int) -> list[WatchEvent]:
    events: list[WatchEvent] = []
    async with api.watch(Selection(CONFIG_MAP, "n", "a=b"), since="100", timeout_s=60) as stream:
        async for event in stream:
            events.append(event)
            if len(events) == count:
                break
    return events


async def test_events_survive_any_chunking_and_odd_characters() -> None:
    async with serving() as (server, api):
        text = 'a\\n\u0085\u2028\x7f"}'
        line = '{"type":"ADDED","object":{"metadata":{"name":"%s"}}}\n'
        whole = (line % text.replace('"', '\\"') + "\n" + line % "second").encode()
        server.raw_watch = [whole[i : i + 7] for i in range(0, len(whole), 7)]
        first, second = await watched(api, 2)
        assert first.object["metadata"]["name"] == text.replace("\\n", "\n")
        assert second.object["metadata"]["name"] == "second"
        assert server.seen[-1].query["labelSelector"] == "a=b"


async def test_a_torn_last_line_is_no_event() -> None:
    async with serving() as (server, api):
        server.raw_watch = [b'{"type":"ADDED","object":{}}\n{"type":"DEL']
        server.close_watches = True
        assert await watched(api, 9) == [WatchEvent("ADDED", {})]


async def test_an_error_in_the_stream_is_raised() -> None:
    async with serving() as (server, api):
        server.raw_watch = [b'{"type":"ERROR","object":{"kind":"Status","code":500,"message":"etcd"}}\n']
        with pytest.raises(errors.ServerError, match="etcd"):
            await watched(api, 1)


async def test_a_server_that_dies_during_a_watch_is_unreachable_or_ends_it() -> None:
    async with (
        serving() as (server, api),
        api.watch(Selection(CONFIG_MAP, "n"), since="100", timeout_s=9) as stream,
    ):
        await server.stop()
        with pytest.raises((errors.Unreachable, StopAsyncIteration)):
            await anext(stream)


async def test_a_rotated_token_is_read_again_and_a_missing_one_is_an_api_error(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("old")
    server = KubeServer()
    await server.start()
    await server.put(MAPS, "a")
    user = User(token_file=str(token))
    config = KubeConfig.from_one(cluster=Cluster(server=f"http://127.0.0.1:{server.port}"), user=user).get()
    assert config is not None
    api = LightkubeApi(config)
    await api.get(CONFIG_MAP, "n", "a")
    token.write_text("new")
    server.answer_next("GET", 401, status(401, "Unauthorized"))
    await api.get(CONFIG_MAP, "n", "a")
    assert server.count("GET") == 3
    token.unlink()
    server.answer_next("GET", 401, status(401, "Unauthorized"))
    with pytest.raises(errors.Unreachable, match="token"):
        await api.get(CONFIG_MAP, "n", "a")
    await api.close()
    await server.stop()


def test_kubeconfig_is_taken_before_anything_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(
        "current-context: c\n"
        "clusters: [{name: c, cluster: {server: 'https://there:6443'}}]\n"
        "users: [{name: u, user: {token: t}}]\n"
        "contexts: [{name: c, context: {cluster: c, user: u}}]\n"
    )
    monkeypatch.setenv("KUBECONFIG", str(path))
    assert config_from_env().cluster.server == "https://there:6443"
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "absent"))
    with pytest.raises(errors.Unreachable, match="absent"):
        config_from_env()
