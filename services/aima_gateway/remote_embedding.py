"""Has the words of a search turned into a vector by a process of analysis."""

from collections.abc import Sequence

import aiohttp
import structlog

from aima_common.contracts.codec import dumps, loads

TIMEOUT_SECONDS = 25.0
"""A process that has to load the model first takes some seconds."""

log = structlog.get_logger()


class RemoteEmbedding:
    """Asks one process of analysis after the other until one answers."""

    def __init__(self, urls: Sequence[str], secret: str) -> None:
        self._urls = list(urls)
        self._headers = {"Authorization": f"Bearer {secret}", "Content-Type": "application/json"}

    async def __call__(self, text: str) -> Sequence[float] | None:
        """Give the vector of a text, or None while nobody can make one."""
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
        async with aiohttp.ClientSession(headers=self._headers, timeout=timeout) as session:
            for url in list(self._urls):
                try:
                    async with session.post(f"{url}/embed", data=dumps({"text": text})) as answer:
                        if answer.status == 200:
                            return [float(number) for number in loads(await answer.read())["vector"]]
                        log.warning("embedding_refused", url=url, status=answer.status)
                except (aiohttp.ClientError, TimeoutError) as error:
                    log.warning("embedding_away", url=url, reason=str(error) or type(error).__name__)
                # Who could not answer is asked last the next time.
                self._urls.remove(url)
                self._urls.append(url)
        return None
