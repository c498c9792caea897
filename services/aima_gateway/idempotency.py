"""Requests that may be repeated: the same key and body get the same answer."""

import contextlib
import datetime
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from aima_common.abreast import abreast
from aima_common.errors import TransientError
from aima_common.ids import derive
from aima_common.ports import Ports
from aima_common.ports.documents import Change, Document, Expect, Insert, Range
from aima_common.problems import ProblemError, later, refuse

KEPT_SECONDS = 24 * 3600
RUNNING_SECONDS = 30.0
"""After this long without an answer the process that was asked first is taken for dead."""

SWEPT_AT_A_TIME = 500

LONG_AGO = "1970-01-01T00:00:00+00:00"
"""When an attempt began that has ended without an answer: nobody waits for it."""


@dataclass(frozen=True)
class Answer:
    """A status and a JSON body."""

    status: int
    body: Any


class Idempotency:
    """The collection `idempotency`."""

    def __init__(self, ports: Ports) -> None:
        self._documents = ports.documents
        self._clock = ports.clock

    async def once(
        self,
        tenant: str,
        operation: str,
        key: str,
        body: bytes,
        seed: str,
        compute: Callable[[str], Awaitable[Answer]],
    ) -> Answer:
        """Answer a request, or repeat the answer that it got before.

        `seed` (a new id) is kept with the first attempt and handed to `compute` again when that attempt died, or
        failed in a way that does not say that nothing was done, so that what it made is found rather than made twice.
        After a refusal (4xx) the key is free for another body. Raises `ProblemError`: 422 for another body under the
        same key, 409 while the first request is running.
        """
        identity = derive("idempotency", tenant, operation, key)
        record = await self._begin(identity, tenant, _fingerprint(body), seed)
        if record.state == "answered":
            return Answer(record.body["status"], record.body["answer"])
        try:
            answer = await compute(record.body["seed"])
            change = Change("answered", {"status": answer.status, "answer": answer.body})
            await self._documents.transition("idempotency", identity, expect=Expect(state="running"), change=change)
        except Exception as error:
            await self._let_go(record, error)
            raise
        return answer

    async def sweep(self) -> None:
        """Forget answers that nobody will ask for any more."""
        over = {"expires_at": Range(below=self._clock.now().isoformat())}
        while records := await self._documents.find("idempotency", over, order=["expires_at"], limit=SWEPT_AT_A_TIME):
            await abreast(lambda record: self._documents.delete("idempotency", record.id), records)

    async def _begin(self, identity: str, tenant: str, fingerprint: str, seed: str) -> Document:
        now = self._clock.now()
        body = {
            "fingerprint": fingerprint,
            "seed": seed,
            "in_doubt": False,
            "began_at": now.isoformat(),
            "expires_at": (now + datetime.timedelta(seconds=KEPT_SECONDS)).isoformat(),
        }
        fresh = await self._documents.insert("idempotency", Insert(identity, tenant, "running", body))
        record = await self._documents.load("idempotency", identity)
        if record is None:
            raise TransientError("the first request under this Idempotency-Key failed just now")
        if record.body["fingerprint"] not in (None, fingerprint):
            raise refuse(
                422,
                "idempotency_key_reused",
                "this Idempotency-Key was used for another request",
                "Use a new key for every new request.",
            )
        if fresh or record.state == "answered":
            return record
        return await self._take_over(record, fingerprint, now)

    async def _let_go(self, record: Document, error: Exception) -> None:
        """Let a repetition begin at once: with any body where all attempts were refused, else with this one alone.

        Whoever took this attempt for dead meanwhile keeps what it has.
        """
        refused = isinstance(error, ProblemError) and 400 <= error.problem.status < 500
        in_doubt = record.body.get("in_doubt", False) or not refused
        fields = {"began_at": LONG_AGO, "in_doubt": in_doubt, **({} if in_doubt else {"fingerprint": None})}
        # Where the store is away, too, the repetition begins when this attempt counts as dead.
        with contextlib.suppress(TransientError):
            mine = Expect(state="running", version=record.version)
            await self._documents.transition("idempotency", record.id, expect=mine, change=Change(set=fields))

    async def _take_over(self, record: Document, fingerprint: str, now: datetime.datetime) -> Document:
        began = datetime.datetime.fromisoformat(record.body["began_at"])
        if (now - began).total_seconds() < RUNNING_SECONDS:
            raise later(409, "in_progress", "the first request under this Idempotency-Key is still running", 2)
        expect = Expect(state="running", version=record.version)
        # Of an attempt that died nobody knows how far it came.
        in_doubt = record.body["fingerprint"] is not None
        fields = {"began_at": now.isoformat(), "in_doubt": in_doubt, "fingerprint": fingerprint}
        done = await self._documents.transition("idempotency", record.id, expect=expect, change=Change(set=fields))
        if not done.applied or done.document is None:
            raise later(409, "in_progress", "another request under this Idempotency-Key is running", 2)
        return done.document


def _fingerprint(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()
