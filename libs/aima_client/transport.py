"""HTTP to AIMA that tries again where that is safe, and turns problems into errors."""

import asyncio
import contextlib
import itertools
import json
import random
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

from aima_client.errors import ClientError, NotRunningError, ProblemError, from_response

ATTEMPTS = 8
LONGEST_WAIT_SECONDS = 30.0
"""Between attempts where nobody says how long to wait."""

LONGEST_ASKED_SECONDS = 120.0
"""An answer that asks to come back later than this is passed on: whoever waits for so long decides to."""

BUSY = frozenset({429, 503})
"""Answers that ask to come back; nothing was done."""

Waits = Callable[[float, ProblemError], None]
"""Called before a wait that AIMA asked for, with its seconds and AIMA's reason."""

Body = Callable[[], Any]
"""Makes a request's body anew for every attempt, since a stream can be read once."""


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Read it as JSON."""
        return json.loads(self.body) if self.body else {}


class Transport:
    """One session with one AIMA."""

    def __init__(self, url: str, key: str, *, attempts: int = ATTEMPTS) -> None:
        self.url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._attempts = attempts
        self._patience_seconds = 0.0
        self._waits: Waits = _silently
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        """Open the session."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=None)
        self._session = aiohttp.ClientSession(headers=self._headers, timeout=timeout)

    async def close(self) -> None:
        """Close the session."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    @contextlib.contextmanager
    def patient(self, seconds: float, waits: Waits) -> Iterator[None]:
        """While in context, let each request wait for as long in all when AIMA asks to come back, and tell `waits`."""
        before = self._patience_seconds, self._waits
        self._patience_seconds, self._waits = seconds, waits
        try:
            yield
        finally:
            self._patience_seconds, self._waits = before

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Body | None = None,
        headers: Mapping[str, str] | None = None,
        repeatable: bool = True,
    ) -> Answer:
        """Send a request; raise `ProblemError` for a refusal and `NotRunningError` when nobody answers.

        `repeatable` says that sending it twice does no more than sending it once: then a broken
        connection is tried again. Answers that ask to come back are always heeded: for as many attempts, and
        for as long as this client is patient.
        """
        waited, failures = 0.0, 0
        for attempt in itertools.count(1):
            try:
                answer = await self._send(method, path, query, body, headers)
            except (aiohttp.ClientConnectionError, asyncio.IncompleteReadError, TimeoutError) as error:
                failures += 1
                refused = isinstance(error, aiohttp.ClientConnectorError)
                if failures == self._attempts or not (repeatable or refused):
                    raise self._away(error) from error
                await asyncio.sleep(wait_seconds(failures, None))
                continue
            if answer.status < 400:
                return answer
            problem = _problem(answer)
            seconds = wait_seconds(attempt, answer.headers.get("Retry-After"))
            come_back = answer.status in BUSY or problem.code == "in_progress"
            spent = attempt >= self._attempts and waited + seconds > self._patience_seconds
            if not come_back or spent or seconds > LONGEST_ASKED_SECONDS:
                raise problem
            self._waits(seconds, problem)
            await asyncio.sleep(seconds)
            waited += seconds
        raise AssertionError("unreachable: it counts for ever")

    async def get(self, path: str, **query: Any) -> dict[str, Any]:
        """Ask for JSON; raise as `request` does."""
        return dict((await self.request("GET", path, query=query)).json())

    async def send(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any],
        *,
        headers: Mapping[str, str] | None = None,
        repeatable: bool = True,
    ) -> dict[str, Any]:
        """Send JSON and get JSON back; raise as `request` does."""
        data = json.dumps(body).encode()
        kind = {"Content-Type": "application/json", **(headers or {})}
        answer = await self.request(method, path, body=lambda: data, headers=kind, repeatable=repeatable)
        return dict(answer.json())

    @contextlib.asynccontextmanager
    async def stream(self, path: str, query: Mapping[str, Any]) -> AsyncIterator[aiohttp.StreamReader]:
        """Open an answer that does not end; raise as `request` does, without trying again."""
        try:
            async with self._open_session().get(self.url + path, params=dict(query)) as response:
                if response.status >= 400:
                    raise _problem(Answer(response.status, dict(response.headers), await response.read()))
                yield response.content
        except aiohttp.ClientConnectionError as error:
            raise self._away(error) from error

    async def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None,
        body: Body | None,
        headers: Mapping[str, str] | None,
    ) -> Answer:
        data = body() if body is not None else None
        chosen = {name: str(value) for name, value in (query or {}).items() if value is not None}
        async with self._open_session().request(
            method, self.url + path, params=chosen, data=data, headers=headers
        ) as response:
            return Answer(response.status, dict(response.headers), await response.read())

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise ClientError("the client is not open", remedy="Use it as `async with Client(...) as aima`.")
        return self._session

    def _away(self, error: Exception) -> NotRunningError:
        return NotRunningError(
            f"no AIMA answers at {self.url} ({str(error) or type(error).__name__})",
            remedy="Start it with `aima up`, or correct AIMA_URL.",
        )


def wait_seconds(attempt: int, retry_after: str | None, jitter: Callable[[], float] = random.random) -> float:
    """Tell how long to wait after a failed attempt: what the answer asks for, else doubling, with jitter."""
    if retry_after is not None and retry_after.isascii() and retry_after.isdigit():
        return float(retry_after) + jitter() / 4
    doubled: float = min(LONGEST_WAIT_SECONDS, 0.25 * 2.0**attempt)
    return doubled * (0.5 + jitter() / 2)


def _silently(seconds: float, problem: ProblemError) -> None:
    """Wait without a word."""


def _problem(answer: Answer) -> ProblemError:
    try:
        problem = answer.json()
    except ValueError:
        problem = {}
    return from_response(answer.status, problem if isinstance(problem, dict) else {})
