"""A service's process that waits before it commits a job: it holds leases most of the time, with its work done.

    python -m tests.chaos.lingering aima_fusion

Work that costs nothing holds a lease for some milliseconds, which a signal hardly ever meets.
"""

import asyncio
from typing import Any

from aima_common.ports import Ports
from tests.chaos.crashing import Call, become, finishes, wrap

LINGER_SECONDS = 1.5


def linger(ports: Ports) -> None:
    """Have every commit of a job wait."""
    wrap(ports.documents, "transition", _late)


def _late(call: Call) -> Call:
    async def wrapped(*args: Any, **kwargs: Any) -> Any:
        if finishes(*args, **kwargs):
            await asyncio.sleep(LINGER_SECONDS)
        return await call(*args, **kwargs)

    return wrapped


if __name__ == "__main__":
    become(linger)
