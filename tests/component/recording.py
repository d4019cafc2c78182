"""Runs a Pulumi program against mocks and keeps every registration as the engine would see it."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pulumi
from pulumi.runtime.mocks import MockMonitor, Mocks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PROJECT = "valkeeper"
STACK = "shop.orders"


@dataclass(frozen=True)
class Registered:
    """One resource, as it was registered."""

    urn: str
    type: str
    name: str
    parent: str
    custom: bool
    protect: bool
    provider: str
    inputs: dict[str, Any]


@dataclass
class Recording(Mocks):
    """Everything that a program registered, in order, and the outputs of its components."""

    resources: list[Registered] = field(default_factory=list)
    outputs: dict[str, dict[str, Any]] = field(default_factory=dict)

    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str | None, dict[Any, Any]]:
        return f"{args.name}-id", dict(args.inputs)

    def call(self, args: pulumi.runtime.MockCallArgs) -> tuple[dict[Any, Any], None]:
        return {}, None

    def of_type(self, type_: str) -> list[Registered]:
        return [one for one in self.resources if one.type == type_]

    def objects(self) -> list[Registered]:
        """The Kubernetes objects: everything that the provider makes."""
        return [one for one in self.resources if one.type.startswith("kubernetes:")]


class _Monitor(MockMonitor):
    """The mock monitor with the engine's own URNs, which carry every parent's type but the stack's."""

    def __init__(self, recording: Recording) -> None:
        super().__init__(recording)
        self._recording = recording

    def make_urn(self, parent: str, type_: str, name: str) -> str:
        above = parent.split("::")[2] if parent else ""
        qualified = type_ if above in ("", "pulumi:pulumi:Stack") else f"{above}${type_}"
        return f"urn:pulumi:{STACK}::{PROJECT}::{qualified}::{name}"

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802
        answer = super().RegisterResource(request)  # type: ignore[no-untyped-call]
        if request.type != "pulumi:pulumi:Stack":
            self._recording.resources.append(
                Registered(
                    urn=answer.urn,
                    type=request.type,
                    name=request.name,
                    parent=request.parent,
                    custom=request.custom,
                    protect=request.protect,
                    provider=request.provider,
                    inputs=pulumi.runtime.rpc.deserialize_properties(request.object, keep_unknowns=True),
                )
            )
        return answer

    def RegisterResourceOutputs(self, request: Any) -> Any:  # noqa: N802
        self._recording.outputs[request.urn] = pulumi.runtime.rpc.deserialize_properties(request.outputs)
        return super().RegisterResourceOutputs(request)  # type: ignore[no-untyped-call]


@contextmanager
def _event_loop() -> Iterator[asyncio.AbstractEventLoop]:
    """Pulumi's mocks need a loop of their own that is the thread's current one."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        yield loop
    finally:
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()
        asyncio.set_event_loop(None)


def record(program: Callable[[], None]) -> Recording:
    """Run the program to its end; what it raises is raised here."""
    recording = Recording()
    with _event_loop():
        pulumi.runtime.set_mocks(
            recording, project=PROJECT, stack=STACK, preview=False, monitor=_Monitor(recording)
        )
        try:
            pulumi.runtime.test(program)()  # type: ignore[no-untyped-call]
        finally:
            pulumi.runtime.reset_options()
    return recording
