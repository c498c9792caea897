"""Who is asking, and may they."""

from aiohttp import web

from aima_common.problems import Problem, ProblemError, refuse
from aima_gateway import keys
from aima_gateway.audit import Audit
from aima_gateway.key_store import KeyStore
from aima_gateway.keys import Actor, Role


class Guard:
    """Turns credentials into an actor."""

    def __init__(self, store: KeyStore, audit: Audit) -> None:
        self._store = store
        self._audit = audit

    async def admit(self, request: web.Request, role: Role) -> Actor:
        """Tell who asks; raise `ProblemError` 401 for a stranger and 403 for a role that is too small."""
        shown = keys.bearer(request.headers.get("Authorization"))
        who = await self._store.actor(shown) if shown else None
        if who is None:
            await self._audit.note_stranger(request.remote or "", request.path)
            raise _stranger(shown)
        if who.role < role:
            await self._audit.note(who.tenant, "refused", actor=who.key, subject=request.path[:200], needs=role.name)
            raise refuse(
                403, "role", f"a key with role {who.role.name} may not do this", f"Use a key with role {role.name}."
            )
        return who


def _stranger(shown: str | None) -> ProblemError:
    detail = "the key is not known, was revoked, or is mistyped" if shown else "no key was shown"
    remedy = "Send Authorization: Bearer <key>; `aima up` prints one, `aima keys create` makes more."
    return ProblemError(
        Problem(401, "unauthorized", detail, remedy, headers={"WWW-Authenticate": 'Bearer realm="aima"'})
    )
