"""Search: by the words that were said and shown, and by what they mean."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

from aiohttp import web

from aima_common.ports.search import Hit, Search
from aima_common.ports.vectors import Neighbour, Vectors
from aima_common.problems import refuse
from aima_gateway import ranking
from aima_gateway.answers import Handlers, actor, choice, json_answer, whole_number
from aima_gateway.ranking import Found
from aima_gateway.reading import Reading

SPACE = "texts"
"""The vector space of spoken and written text."""

MAX_QUERY_CHARACTERS = 1000

EmbedText = Callable[[str], Awaitable[Sequence[float] | None]]


class SearchRoutes:
    """Asks the word index and the vector space, and joins what they answer."""

    def __init__(self, reading: Reading, words: Search, vectors: Vectors, embed_text: EmbedText | None) -> None:
        self._reading = reading
        self._words = words
        self._vectors = vectors
        self._embed_text = embed_text

    def handlers(self) -> Handlers:
        """Map operations to what answers them."""
        return {"search": self.search}

    async def search(self, request: web.Request) -> web.StreamResponse:
        tenant, query = actor(request).tenant, request.query.get("q", "").strip()
        if not query or len(query) > MAX_QUERY_CHARACTERS:
            raise refuse(
                422,
                "bad_query",
                f"q is empty or longer than {MAX_QUERY_CHARACTERS} characters",
                "Say what to look for.",
            )
        mode = choice(request, "mode", ("words", "meaning", "both"), "both")
        limit = whole_number(request, "limit", 20, 1, 100)
        medium = request.query.get("medium")
        lists: list[list[Found]] = []
        missing: list[str] = []
        if mode in {"words", "both"}:
            lists.append([_of_hit(hit) for hit in await self._words.query(tenant, query, medium=medium, limit=limit)])
        if mode in {"meaning", "both"}:
            near = await self._meaning(tenant, query, medium, limit)
            if near is None:
                missing.append("meaning: the text embedding model is not installed")
            else:
                lists.append(near)
        hits = ranking.join(lists, limit)
        return json_answer({"query": query, "mode": mode, "missing": missing, "hits": await self._shown(tenant, hits)})

    async def _meaning(self, tenant: str, query: str, medium: str | None, limit: int) -> list[Found] | None:
        vector = await self._embed_text(query) if self._embed_text else None
        if vector is None:
            return None
        where = {"tenant": tenant} | ({"medium": medium} if medium else {})
        return [_of_neighbour(n) for n in await self._vectors.nearest(SPACE, vector, where=where, limit=limit)]

    async def _shown(self, tenant: str, hits: Iterable[Found]) -> list[dict[str, Any]]:
        shown = list(hits)
        named = await self._reading.named_items(tenant, {hit.medium for hit in shown})
        return [{**hit.body(), "items": named[hit.medium]} for hit in shown if hit.medium in named]


def _of_hit(hit: Hit) -> Found:
    p = hit.passage
    return Found(p.medium, p.kind, p.text, p.start_seconds, p.end_seconds, hit.score, hit.snippet, ("words",))


def _of_neighbour(near: Neighbour) -> Found:
    payload = near.payload
    start, end = float(payload.get("start_seconds", 0.0)), float(payload.get("end_seconds", 0.0))
    text = str(payload.get("text", ""))
    return Found(
        str(payload["medium"]), str(payload.get("kind", "")), text, start, end, near.similarity, text, ("meaning",)
    )
