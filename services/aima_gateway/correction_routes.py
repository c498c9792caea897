"""Corrections: what a person says instead of a model. The model's statement stays beside it."""

import uuid
from collections.abc import Mapping
from typing import Any, get_args

from aiohttp import web

from aima_common.contracts.codec import dumps
from aima_common.contracts.media import FindingKind
from aima_common.contracts.messages import CorrectionMade
from aima_common.contracts.picture import PictureFinding
from aima_common.ports.documents import Document
from aima_common.problems import FieldError, refuse
from aima_gateway.answers import Handlers, actor, json_answer, json_object, missing
from aima_gateway.audit import Audit
from aima_gateway.findings import Findings
from aima_gateway.idempotency import Answer, Idempotency
from aima_gateway.key_store import KeyStore
from aima_gateway.keys import Actor
from aima_gateway.reading import Reading
from aima_gateway.requests import Requests

FIELDS = ("text", "label", "kind")
"""What of a finding can be corrected: what was said or shown, what was seen, and what sort of thing it is."""

MOST_CHARACTERS = 2000


class CorrectionRoutes:
    """Checks a correction against what a dossier shows, and passes it on to the dossier service."""

    def __init__(
        self,
        reading: Reading,
        findings: Findings,
        keys: KeyStore,
        idempotency: Idempotency,
        requests: Requests,
        audit: Audit,
    ) -> None:
        self._reading = reading
        self._findings = findings
        self._keys = keys
        self._idempotency = idempotency
        self._requests = requests
        self._audit = audit

    def handlers(self) -> Handlers:
        """Map operations to what answers them."""
        return {"correct_finding": self.correct}

    async def correct(self, request: web.Request) -> web.StreamResponse:
        who, medium = actor(request), request.match_info["medium"]
        await self._reading.one("media", who.tenant, medium, "medium")
        asked = await json_object(request)

        async def compute(seed: str) -> Answer:
            return await self._make(who, medium, asked, seed)

        key, seed = request.headers.get("Idempotency-Key"), str(uuid.uuid4())
        if key is None:
            made = await compute(seed)
        else:
            body = dumps({"medium": medium, **asked})
            made = await self._idempotency.once(who.tenant, "correct_finding", key, body, seed, compute)
        return json_answer(made.body, made.status)

    async def _make(self, who: Actor, medium: str, asked: Mapping[str, Any], seed: str) -> Answer:
        wanted = checked(asked)
        finding = await self._finding(who.tenant, medium, wanted["finding"])
        _check_against(finding, wanted["field"], wanted["value"])
        key = await self._keys.load(who.key)
        author = str(key.body["name"]) if key and key.body["name"] else who.key
        made = CorrectionMade(medium=medium, author=author, **wanted)
        identity = await self._requests.correct(who.tenant, made, seed)
        await self._audit.note(who.tenant, "correct_finding", actor=who.key, subject=medium, finding=finding.id)
        # Not the value: answers are kept for those who ask again, and erasure does not reach there.
        told = {"id": identity, "medium": medium, "finding": finding.id, "field": wanted["field"], "author": author}
        return Answer(202, told)

    async def _finding(self, tenant: str, medium: str, identity: str) -> PictureFinding:
        run: Document | None = (await self._reading.runs(tenant, [medium])).get(medium)
        if run is None or run.state in {"accepted", "preparing", "analysing", "fusing"}:
            raise refuse(
                409,
                "not_finished",
                "this medium is still being analysed, and its findings may yet be joined with others",
                "Correct it when the medium is finished.",
            )
        found = await self._findings.folded(run) if run.state == "analysed" else []
        known = next((finding for finding in found if finding.id == identity), None)
        if known is None:
            raise missing("finding of this medium")
        return known


def checked(asked: Mapping[str, Any]) -> dict[str, str]:
    """Read a correction; raise one `ProblemError` (422) that names every field that is wrong."""
    names = ("finding", "field", "value")
    errors = [FieldError(name, f"is not one of {list(names)}") for name in asked if name not in names]
    errors += [FieldError(name, "is not a text") for name in names if not isinstance(asked.get(name), str)]
    if errors:
        raise _refused(errors)
    read = {name: str(asked[name]).strip() for name in names}
    if read["field"] not in FIELDS:
        errors.append(FieldError("field", f"is not one of {', '.join(FIELDS)}"))
    if not 0 < len(read["value"]) <= MOST_CHARACTERS:
        errors.append(FieldError("value", f"is empty or longer than {MOST_CHARACTERS} characters"))
    if not all(character.isprintable() or character == "\n" for character in read["value"]):
        errors.append(FieldError("value", "has characters that cannot be shown"))
    if errors:
        raise _refused(errors)
    return read


def _check_against(finding: PictureFinding, field: str, value: str) -> None:
    if field == "kind":
        if value not in get_args(FindingKind):
            raise _refused([FieldError("value", f"is not one of {', '.join(get_args(FindingKind))}")])
    elif getattr(finding, field) is None:
        raise _refused([FieldError("field", f"this finding, of kind {finding.kind}, has no {field}")])


def _refused(errors: list[FieldError]) -> Exception:
    return refuse(422, "bad_correction", "this is not a correction", "Correct the named fields.", errors)
