"""Asks the scheduler that places why a job waits, and for the queue."""

from collections.abc import Mapping, Sequence
from typing import Any

import aiohttp
import structlog
from yarl import URL

from aima_common.contracts.codec import loads
from aima_common.errors import UnavailableError

TIMEOUT_SECONDS = 10.0

log = structlog.get_logger()


class RemoteExplanations:
    """Asks one scheduler after the other: only the one that places knows."""

    def __init__(self, urls: Sequence[str], secret: str) -> None:
        self._urls = list(urls)
        self._headers = {"Authorization": f"Bearer {secret}"}

    async def __call__(self, tenant: str, job: str) -> Mapping[str, Any] | None:
        """Tell why a tenant's job waits, or None where the scheduler says nothing; raise as `queue`."""
        return await self._ask(("v1", "jobs", job, "explain"), {"tenant": tenant})

    async def queue(self, tenant: str, most: int) -> Mapping[str, Any] | None:
        """Show queue and machines as a tenant may see them; raise `UnavailableError` where none can be asked."""
        return await self._ask(("v1", "queue"), {"tenant": tenant, "limit": str(most)})

    async def _ask(self, path: Sequence[str], query: Mapping[str, str]) -> Mapping[str, Any] | None:
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
        async with aiohttp.ClientSession(headers=self._headers, timeout=timeout) as session:
            for url in list(self._urls):
                place = URL(url).joinpath(*path).with_query(query)
                try:
                    async with session.get(place) as answer:
                        if answer.status == 200:
                            told: Mapping[str, Any] = loads(await answer.read())
                            return told
                        if answer.status == 404:
                            return None
                except (aiohttp.ClientError, TimeoutError) as error:
                    log.warning("scheduler_away", url=url, reason=str(error) or type(error).__name__)
                # Who could not answer is asked last the next time.
                self._urls.remove(url)
                self._urls.append(url)
        raise UnavailableError("no scheduler answers", code="scheduler_away")
