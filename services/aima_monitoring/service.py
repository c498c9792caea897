"""Counts every message once, and audits the stores now and again."""

import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import structlog

from aima_common.contracts import messages as m
from aima_common.contracts.base import Message
from aima_common.contracts.envelope import Envelope
from aima_common.contracts.telling import tell
from aima_common.contracts.topics import heard_by
from aima_common.errors import TransientError
from aima_common.ids import derive
from aima_common.ports import Ports
from aima_common.ports.documents import Change, Insert, Outcome, Range
from aima_common.runtime.telemetry import VIOLATIONS
from aima_monitoring import snapshot
from aima_monitoring.invariants import Violation, check

WINDOW_SECONDS = 3600
"""Length of a rollup's window."""

FOLD_AFTER_SECONDS = 8 * 24 * 3600
"""No topic keeps messages for longer than a week: what was counted this long ago does not come again."""

FOLD_SECONDS = 600.0
FOLDED_AT_A_TIME = 500

AUDIT_SECONDS = 300.0

SECOND_LOOK_SECONDS = 10.0
"""Longer than a handler takes between two stores."""

log = structlog.get_logger()


class Monitoring:
    """Owns the rollups and the audits."""

    name = "monitoring"

    def __init__(self, ports: Ports, *, audit_seconds: float = AUDIT_SECONDS) -> None:
        self._ports = ports
        self._audit_seconds = audit_seconds
        self._audits = 0

    def handlers(self) -> Mapping[type[Message], Callable[[Envelope[Any]], Awaitable[None]]]:
        """Listen to everything that is meant for monitoring."""
        return {topic.message: self.count for topic in heard_by(self.name)}

    def background(self) -> Sequence[Callable[[], Awaitable[None]]]:
        """Audit for as long as the process lives."""
        return [self.audit, self.fold]

    async def count(self, envelope: Envelope[Any]) -> None:
        """Add a message to its window, once however often it comes: the inbox knows it.

        What is about different things is counted apart: one count for all would be written by every message there is.
        """
        window = int(envelope.time.timestamp()) // WINDOW_SECONDS * WINDOW_SECONDS
        identity = derive("rollup", envelope.tenant, window, envelope.key)
        change = Change(add={f"messages.{envelope.type}": 1})
        documents = self._ports.documents
        counted = await documents.transition("rollups", identity, change=change, inbox=envelope.id)
        if counted.outcome not in {Outcome.APPLIED, Outcome.REPEATED}:
            # It is not there yet, or whoever counts something else has made it a moment ago.
            await documents.insert("rollups", Insert(identity, envelope.tenant, "open", {"window": window}))
            await documents.transition("rollups", identity, change=change, inbox=envelope.id)

    async def fold(self) -> None:
        """Put together, now and again, what was counted apart and can change no more."""
        while True:
            with contextlib.suppress(TransientError):
                while await self.fold_some():
                    continue
            await self._ports.clock.sleep(FOLD_SECONDS)

    async def fold_some(self) -> int:
        """Add some old counts to the one of their tenant and window, each once, and remove them; tell how many."""
        documents, before = self._ports.documents, self._ports.clock.now().timestamp() - FOLD_AFTER_SECONDS
        wanted = {"state": "open", "window": Range(below=before)}
        old = await documents.find("rollups", wanted, order=["window"], limit=FOLDED_AT_A_TIME)
        for part in old:
            window = part.body["window"]
            whole = derive("rollup", part.tenant, window)
            await documents.insert("rollups", Insert(whole, part.tenant, "whole", {"window": window}))
            change = Change(add={f"messages.{name}": count for name, count in part.body.get("messages", {}).items()})
            # A crash after this comes here again, and the inbox knows the part.
            await documents.transition("rollups", whole, change=change, inbox=part.id)
            await documents.delete("rollups", part.id)
        return len(old)

    async def audit(self) -> None:
        """Check the invariants beside the work; a violation is logged, counted and told."""
        while True:
            await self._ports.clock.sleep(self._audit_seconds)
            with contextlib.suppress(TransientError):
                await self.report(await self._lasting())

    async def _lasting(self) -> list[Violation]:
        """Find what is wrong twice: stores are read one after the other, and work goes on in between."""
        self._audits += 1
        first = {(v.invariant, v.subject) for v in await self._look()}
        if not first:
            return []
        await self._ports.clock.sleep(SECOND_LOOK_SECONDS)
        return [v for v in await self._look() if (v.invariant, v.subject) in first]

    async def _look(self) -> list[Violation]:
        """Check part after part, so that an audit takes up no more where there is more."""
        found = [v async for part in snapshot.parts(self._ports, self._audits) for v in check(part)]
        return list(dict.fromkeys(found))

    async def report(self, violations: Sequence[Violation]) -> None:
        """Keep an audit and tell what it found."""
        now = self._ports.clock.now()
        told = []
        for v in violations:
            log.error("invariant_violated", invariant=v.invariant, subject=v.subject, detail=v.detail)
            VIOLATIONS.labels(v.invariant).inc()
            body = m.ViolationFound(invariant=v.invariant, subject=v.subject, detail=v.detail)
            told.append(tell(body, tenant="", key=v.subject, cause=now.isoformat(), time=now))
        state = "violated" if violations else "clean"
        details = [{"invariant": v.invariant, "subject": v.subject, "detail": v.detail} for v in violations]
        audit = Insert(derive("audit", now.isoformat()), "", state, {"at": now.isoformat(), "violations": details})
        await self._ports.documents.insert("audits", audit, outbox=told)
