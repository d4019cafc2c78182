"""The daemon's settings come from its environment, and everything wrong is said at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from daemon.settings import SettingsError, from_environment


def test_without_variables_the_defaults_hold() -> None:
    settings = from_environment({"PATH": "/bin", "KUBECONFIG": "/x"})
    assert settings.namespaces == ()
    assert (settings.lease_namespace, settings.lease_name) == ("valkeeper-system", "valkeeper")
    assert (settings.port, settings.parallel_updates, settings.workers) == (8080, 2, 8)
    assert settings.backend_url == ""
    assert settings.identity
    assert settings.work_dir.is_absolute()


def test_every_variable_is_taken() -> None:
    settings = from_environment(
        {
            "VALKEEPER_NAMESPACES": " shop, billing,,",
            "VALKEEPER_LEASE_NAMESPACE": "ops",
            "VALKEEPER_LEASE_NAME": "blue",
            "VALKEEPER_IDENTITY": "0123",
            "VALKEEPER_PORT": "9000",
            "VALKEEPER_WORK_DIR": "/work/stacks",
            "VALKEEPER_BACKEND_URL": "s3://states",
            "VALKEEPER_PARALLEL_UPDATES": "4",
            "VALKEEPER_WORKERS": "16",
            "VALKEEPER_FAILPOINT": "before:Meet",
        }
    )
    assert settings.model_dump() == {
        "namespaces": ("shop", "billing"),
        "lease_namespace": "ops",
        "lease_name": "blue",
        "identity": "0123",
        "port": 9000,
        "work_dir": Path("/work/stacks"),
        "backend_url": "s3://states",
        "parallel_updates": 4,
        "workers": 16,
        "failpoint": "before:Meet",
    }


@pytest.mark.parametrize("text", ["", " ", ","])
def test_no_namespace_means_all(text: str) -> None:
    assert from_environment({"VALKEEPER_NAMESPACES": text}).namespaces == ()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "0"),
        ("PORT", "65536"),
        ("PORT", "tcp://10.0.0.1:8080"),
        ("PORT", ""),
        ("WORKERS", "none"),
        ("PARALLEL_UPDATES", "0"),
        ("IDENTITY", ""),
        ("LEASE_NAME", ""),
        ("WORK_DIR", ""),
        ("WORK_DIR", "stacks"),
        ("WORK_DIR", "/"),
        ("WORKER", "3"),
    ],
)
def test_a_wrong_variable_is_named(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"^VALKEEPER_{name}: "):
        from_environment({f"VALKEEPER_{name}": value})


def test_everything_wrong_is_said_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        from_environment({"VALKEEPER_PORT": "x", "VALKEEPER_WORKERS": "-1", "VALKEEPER_PROT": "1"})
    assert [part.partition(":")[0] for part in str(caught.value).split("; ")] == [
        "VALKEEPER_PORT",
        "VALKEEPER_WORKERS",
        "VALKEEPER_PROT",
    ]
