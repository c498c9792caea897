"""A service's process that dies at a named point, the first time it comes there.

    CHAOS_CRASH_AT='before telling' python -m tests.chaos.crashing aima_fusion

Every point lies between two steps of the engine. The plugs are wrapped where they are chosen, so that nothing of this
is in what is shipped. A process that dies says so as its last word and ends with `STATUS`.
"""

import contextlib
import json
import os
import runpy
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

from aima_common import cluster_wiring
from aima_common.ports import Ports

VARIABLE = "CHAOS_CRASH_AT"
STATUS = 137
"""As of a process that was killed by SIGKILL (128 + 9)."""

Call = Callable[..., Awaitable[Any]]


def last_words(point: str) -> str:
    """Tell what a process says when it dies at a point."""
    return json.dumps({"event": "died_on_purpose", "point": point})


def die(point: str) -> None:
    """End without any farewell: no drain, no flush, no answer."""
    os.write(2, f"{last_words(point)}\n".encode())
    os._exit(STATUS)


def before(call: Call, concerns: Callable[..., bool], point: str) -> Call:
    """Die in the place of a call."""

    async def wrapped(*args: Any, **kwargs: Any) -> Any:
        if concerns(*args, **kwargs):
            die(point)
        return await call(*args, **kwargs)

    return wrapped


def after(call: Call, concerns: Callable[..., bool], point: str) -> Call:
    """Die when a call is done, before its caller hears of it."""

    async def wrapped(*args: Any, **kwargs: Any) -> Any:
        answer = await call(*args, **kwargs)
        if getattr(answer, "applied", answer) is not False and concerns(*args, **kwargs):
            die(point)
        return answer

    return wrapped


def _always(*_args: Any, **_kwargs: Any) -> bool:
    return True


def _tells(*_args: Any, outbox: Any = (), **_kwargs: Any) -> bool:
    """Tell whether a change of a document has something to tell."""
    return bool(outbox)


def _claims(collection: str, *_args: Any, lease: Any = None, **_kwargs: Any) -> bool:
    return collection == "jobs" and lease is not None and not lease.renew


def finishes(collection: str, *_args: Any, change: Any = None, **_kwargs: Any) -> bool:
    """Tell whether a change of a document is the commit of a job."""
    return collection == "jobs" and change is not None and change.state == "done"


def wrap(target: Any, name: str, wrapper: Callable[[Call], Call]) -> None:
    """Put a wrapper around a method of this one object."""
    setattr(target, name, wrapper(getattr(target, name)))


def _change(ports: Ports, how: Callable[[Call], Call]) -> None:
    for name in ("insert", "transition"):
        wrap(ports.documents, name, how)


def _objects(ports: Ports, how: Callable[[Call], Call]) -> None:
    wrap(ports.objects, "put", how)
    for name in ("create", "writer"):
        begin = getattr(ports.objects, name)

        async def begun(*args: Any, begin: Call = begin, **kwargs: Any) -> Any:
            writer = await begin(*args, **kwargs)
            wrap(writer, "finish", how)
            return writer

        setattr(ports.objects, name, begun)


def _commits(ports: Ports, how: Callable[[Call], Call]) -> None:
    subscribe = ports.bus.subscribe

    @contextlib.asynccontextmanager
    async def subscribed(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        async with subscribe(*args, **kwargs) as subscription:
            wrap(subscription, "commit_all", how)
            yield subscription

    setattr(ports.bus, "subscribe", subscribed)  # noqa: B010 - a plug's method, on this one object


POINTS: Mapping[str, Callable[[Ports], None]] = {
    "before a change": lambda p: _change(p, lambda call: before(call, _tells, "before a change")),
    "after a change": lambda p: _change(p, lambda call: after(call, _tells, "after a change")),
    "before telling": lambda p: wrap(p.bus, "publish", lambda call: before(call, _always, "before telling")),
    "after telling": lambda p: wrap(p.bus, "publish", lambda call: after(call, _always, "after telling")),
    "before an offset": lambda p: _commits(p, lambda call: before(call, _always, "before an offset")),
    "after a claim": lambda p: wrap(p.documents, "transition", lambda call: after(call, _claims, "after a claim")),
    "after an object": lambda p: _objects(p, lambda call: after(call, _always, "after an object")),
    "before a result": lambda p: wrap(
        p.documents, "transition", lambda call: before(call, finishes, "before a result")
    ),
    "after a result": lambda p: wrap(p.documents, "transition", lambda call: after(call, finishes, "after a result")),
}
"""Name -> what makes plugs deadly there. A change is one that has something to tell; an object is whole by then."""


def main() -> None:
    """Become the service that is named, with deadly plugs."""
    become(POINTS[os.environ[VARIABLE]])


def become(arm: Callable[[Ports], None]) -> None:
    """Become the service that is named in the arguments, with plugs that something was done to."""
    module, choose = sys.argv[1], cluster_wiring.cluster

    @contextlib.asynccontextmanager
    async def armed(*args: Any, **kwargs: Any) -> AsyncIterator[Ports]:
        async with choose(*args, **kwargs) as ports:
            arm(ports)
            yield ports

    setattr(cluster_wiring, "cluster", armed)  # noqa: B010 - in this process alone
    del sys.argv[1]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
