"""The security audit: who did, or tried, what."""

import uuid
from typing import Any

from aima_common.ports import Ports
from aima_gateway.limits import Rate
from aima_gateway.pace import Pace

STRANGERS = "_strangers"
"""The stream for those who showed no key that is known here."""

STRANGER_PACE = Pace(per_second=0.2, burst=50)
"""Knocking at the door must not fill the disk."""


class Audit:
    """Appends to the stream `audit/<tenant>`; lines are never changed."""

    def __init__(self, ports: Ports) -> None:
        self._documents = ports.documents
        self._clock = ports.clock
        self._strangers = Rate()

    async def note(self, tenant: str, action: str, *, actor: str, subject: str = "", **facts: Any) -> None:
        """Write down that `actor` (a key's id) did `action` to `subject`."""
        line = {"at": self._clock.now().isoformat(), "action": action, "actor": actor, "subject": subject, **facts}
        await self._documents.append(f"audit/{tenant}", uuid.uuid4().hex, line)

    async def note_stranger(self, remote: str, path: str) -> None:
        """Write down that somebody without a good key knocked, unless there were too many of them just now."""
        if self._strangers.wait_seconds("all", self._clock.monotonic(), STRANGER_PACE) == 0:
            await self.note(STRANGERS, "refused", actor="", subject=path[:200], remote=remote)
