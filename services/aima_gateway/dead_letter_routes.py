"""Dead letters: looking at what was set aside, trying it again, putting it away."""

from typing import Any

from aiohttp import web

from aima_common.ports import Ports
from aima_common.ports.bus import Record
from aima_common.ports.documents import Change, Document, Expect, Range
from aima_common.problems import refuse
from aima_gateway import dead_letters
from aima_gateway.answers import Handlers, actor, choice, json_answer, json_object, missing, whole_number
from aima_gateway.audit import Audit
from aima_gateway.keys import Actor

COLLECTION = "dead_letters"

NOBODYS = ""
"""The tenant of what could not be read far enough to know whose it is."""

MAX_NOTE_CHARACTERS = 500


class DeadLetterRoutes:
    """An operator sees the letters of the own tenant and those of nobody; another tenant's are not there."""

    def __init__(self, ports: Ports, audit: Audit) -> None:
        self._documents = ports.documents
        self._clock = ports.clock
        self._audit = audit

    def handlers(self) -> Handlers:
        """Map operations to what answers them."""
        return {
            "list_dead_letters": self.list_letters,
            "show_dead_letter": self.show,
            "retry_dead_letter": self.retry,
            "discard_dead_letter": self.discard,
        }

    async def list_letters(self, request: web.Request) -> web.StreamResponse:
        who, limit = actor(request), whole_number(request, "limit", 50, 1, 500)
        where: dict[str, Any] = {"tenant": [who.tenant, NOBODYS]}
        if "state" in request.query:
            where["state"] = choice(request, "state", dead_letters.STATES, "open")
        where |= {name: request.query[name] for name in ("reason", "service") if name in request.query}
        if "after" in request.query:
            where["at"] = Range(below=request.query["after"])
        # Times are ISO 8601 in UTC: in the order of their letters they are in that of time.
        found = await self._documents.find(COLLECTION, where, order=["-at"], limit=limit)
        shown = [dead_letters.letter_view(letter) for letter in found]
        return json_answer({"dead_letters": shown, "next": shown[-1]["at"] if len(shown) == limit else None})

    async def show(self, request: web.Request) -> web.StreamResponse:
        return json_answer(dead_letters.letter_in_full(await self._letter(request)))

    async def retry(self, request: web.Request) -> web.StreamResponse:
        letter, who = await self._letter(request), actor(request)
        record = dead_letters.retried(letter, who.key, self._clock.now())
        closed = await self._close(letter, "retried", who, "", [record])
        return json_answer(dead_letters.letter_view(closed), 202)

    async def discard(self, request: web.Request) -> web.StreamResponse:
        letter, who = await self._letter(request), actor(request)
        reason = str((await json_object(request, optional=True)).get("reason", ""))
        return json_answer(dead_letters.letter_view(await self._close(letter, "discarded", who, reason, [])))

    async def _letter(self, request: web.Request) -> Document:
        found = await self._documents.load(COLLECTION, request.match_info["letter"])
        if found is None or found.tenant not in {actor(request).tenant, NOBODYS}:
            raise missing("dead letter")
        return found

    async def _close(self, letter: Document, state: str, who: Actor, note: str, outbox: list[Record]) -> Document:
        """Close an open letter, once, together with the record that tries it again."""
        facts = {"closed_at": self._clock.now().isoformat(), "closed_by": who.key, "note": note[:MAX_NOTE_CHARACTERS]}
        done = await self._documents.transition(
            COLLECTION,
            letter.id,
            # The record was made from this very version.
            expect=Expect(state="open", version=letter.version),
            change=Change(state, facts),
            outbox=outbox,
        )
        if done.document is None:
            raise missing("dead letter")
        if not done.applied:
            state_now = done.document.state
            raise refuse(409, "not_open", f"this letter is {state_now} already", "Look at it again; nothing was done.")
        await self._audit.note(who.tenant, f"{state}_dead_letter", actor=who.key, subject=letter.id)
        return done.document
