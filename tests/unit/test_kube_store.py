"""What is known of a kind of objects, whatever the order in which news of it comes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.kube.api import Key, key_of, resource_version
from daemon.kube.store import Store, without_managed_fields

Change = tuple[str | None, str | None]


def obj(version: int, name: str = "a", uid: str = "u1", **meta: Any) -> dict[str, Any]:
    return {"metadata": {"namespace": "n", "name": name, "uid": uid, "resourceVersion": str(version), **meta}}


class Told:
    """Remembers what a store announced."""

    def __init__(self) -> None:
        self.changes: list[Change] = []

    def __call__(self, old: dict[str, Any] | None, new: dict[str, Any] | None) -> None:
        self.changes.append(tuple(each and each["metadata"]["resourceVersion"] for each in (old, new)))  # type: ignore[arg-type]


def listed(*objects: dict[str, Any]) -> dict[Key, dict[str, Any]]:
    return {key_of(each): each for each in objects}


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def store(told: Told) -> Store:
    return Store(told)


def test_the_same_version_is_no_change(store: Store, told: Told) -> None:
    store.take_list(listed(obj(5)), 7)
    store.take_event("MODIFIED", obj(5))
    store.take_list(listed(obj(5)), 8)
    assert told.changes == [(None, "5")]


def test_a_relist_announces_what_was_missed(store: Store, told: Told) -> None:
    store.take_list(listed(obj(1, "a"), obj(2, "b"), obj(3, "c")), 3)
    told.changes.clear()
    store.take_list(listed(obj(1, "a"), obj(5, "b"), obj(6, "d")), 6)
    assert sorted(told.changes, key=str) == sorted([("3", None), ("2", "5"), (None, "6")], key=str)


def test_an_object_replaced_under_its_name_is_deleted_and_then_added(store: Store, told: Told) -> None:
    store.take_list(listed(obj(1, uid="u1")), 1)
    told.changes.clear()
    store.take_list(listed(obj(5, uid="u2")), 6)
    assert told.changes == [("1", None), (None, "5")]


def test_an_own_write_is_read_back_and_its_event_is_no_second_change(store: Store, told: Told) -> None:
    store.take_list(listed(obj(1)), 1)
    store.put(obj(3))
    store.take_event("MODIFIED", obj(2))
    store.take_event("MODIFIED", obj(3))
    assert told.changes == [(None, "1"), ("1", "3")]
    assert store.get("n", "a") == obj(3)


def test_an_own_write_does_not_bring_a_deleted_object_back(store: Store) -> None:
    store.take_list(listed(obj(1)), 1)
    store.take_event("DELETED", obj(4))
    store.put(obj(3))
    assert store.get("n", "a") is None


def test_a_late_deletion_does_not_remove_what_was_created_since(store: Store) -> None:
    store.take_list(listed(obj(1, uid="u1")), 1)
    store.put(obj(5, uid="u2"))
    store.take_event("DELETED", obj(4, uid="u1"))
    assert store.get("n", "a") == obj(5, uid="u2")


def test_a_list_older_than_an_own_write_does_not_undo_it(store: Store) -> None:
    store.take_list({}, 1)
    store.put(obj(5))
    store.take_list({}, 4)
    assert store.get("n", "a") == obj(5)
    store.take_list({}, 6)
    assert store.get("n", "a") is None


def test_after_a_restored_backup_the_list_stands_for_all(store: Store) -> None:
    store.take_list(listed(obj(90, "a"), obj(91, "b")), 95)
    store.take_list(listed(obj(40, "a")), 50)
    assert store.all() == [obj(40, "a")]


def test_a_bookmark_is_no_object(store: Store, told: Told) -> None:
    store.take_event("BOOKMARK", {"metadata": {"resourceVersion": "9"}})
    assert told.changes == []
    assert len(store) == 0


def test_only_what_the_trim_keeps_is_stored(told: Told) -> None:
    store = Store(told, trim=without_managed_fields)
    full = obj(2, managedFields=[{"manager": "kubectl"}])
    store.take_event("ADDED", full)
    assert store.get("n", "a") == obj(2)
    assert "managedFields" in full["metadata"]


def test_groups_follow_their_members(told: Told) -> None:
    store = Store(told, group=lambda each: each["metadata"].get("labels", {}).get("cluster"))
    store.take_event("ADDED", obj(1, "b", labels={"cluster": "x"}))
    store.take_event("ADDED", obj(2, "a", labels={"cluster": "x"}))
    store.take_event("ADDED", obj(3, "c"))
    assert [key_of(each).name for each in store.of_group("x")] == ["a", "b"]
    store.take_event("MODIFIED", obj(4, "a", labels={"cluster": "y"}))
    store.take_event("DELETED", obj(5, "b", labels={"cluster": "x"}))
    assert store.of_group("x") == []
    assert [key_of(each).name for each in store.of_group("y")] == ["a"]


def test_a_failing_listener_is_not_hidden() -> None:
    def fail(*_: Any) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Store(fail).take_event("ADDED", obj(1))


@settings(max_examples=50)
@given(st.data())
def test_announced_changes_replay_to_what_is_stored(data: st.DataObject) -> None:
    replayed: dict[Key, dict[str, Any]] = {}

    def replay(old: dict[str, Any] | None, new: dict[str, Any] | None) -> None:
        if old is not None:
            assert replayed.pop(key_of(old)) == old
        if new is not None:
            assert key_of(new) not in replayed
            replayed[key_of(new)] = new

    store = Store(replay)
    names = st.sampled_from("abc")
    for version in range(1, data.draw(st.integers(1, 30))):
        back = data.draw(st.integers(0, min(3, version - 1)))
        each = obj(version - back, data.draw(names), uid=data.draw(st.sampled_from(["u1", "u2"])))
        match data.draw(st.sampled_from(["put", "ADDED", "MODIFIED", "DELETED", "list"])):
            case "put":
                store.put(each)
            case "list":
                store.take_list(listed(each), version)
                assert store.get("n", each["metadata"]["name"]) is not None
            case event_type:
                store.take_event(event_type, each)
    assert {key_of(each): each for each in store.all()} == replayed
    assert all(resource_version(each) > 0 for each in store.all())
