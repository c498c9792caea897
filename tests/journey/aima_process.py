"""AIMA as people run it: a process of its own on a data folder, and the command beside it."""

import asyncio
import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from aima_client import embedded
from aima_client.client import Client
from aima_common import wiring
from aima_common.adapters.embedded.documents import SqliteDocuments
from aima_common.ports.documents import Document
from aima_monitoring import snapshot
from aima_monitoring.invariants import check

PATIENCE_SECONDS = 120.0
"""How long a test waits for what has to happen; nothing is concluded from how long it took."""

_SAMPLE = re.compile(r'aima_analyzer_calls_total\{analyzer="(?P<analyzer>[^"]+)"\} (?P<calls>\S+)')


@dataclass(frozen=True)
class RunningAima:
    """An AIMA that runs."""

    url: str
    key: str
    data: Path
    process: "subprocess.Popen[str]"

    def client(self, key: str | None = None, *, attempts: int = 1) -> Client:
        """Talk to it, as its owner unless another key is shown; without patience unless it is asked for."""
        return Client(self.url, self.key if key is None else key, attempts=attempts)

    def tree(self) -> list[psutil.Process]:
        """List the process and everything it started."""
        main = psutil.Process(self.process.pid)
        return [main, *main.children(recursive=True)]

    def stop(self) -> int:
        """End it in good order; return its exit status."""
        embedded.stop(self.process)
        return int(self.process.returncode)


@contextlib.contextmanager
def aima_on(data: Path, *arguments: str) -> Iterator[RunningAima]:
    """Run AIMA on a data folder while in context."""
    with embedded.started(data, arguments) as (instance, process):
        yield RunningAima(instance.url, instance.key, data, process)


@dataclass(frozen=True)
class Told:
    """What a command said, and how it ended."""

    status: int
    out: str
    err: str

    def json(self) -> dict[str, Any]:
        """Read what was meant for machines."""
        return dict(json.loads(self.out))


def aima(*arguments: str | Path, preexec: Callable[[], None] | None = None) -> Told:
    """Run the command `aima` as a person would."""
    command = [sys.executable, "-m", "aima_client", *map(str, arguments)]
    wide = {**os.environ, "COLUMNS": "200"}
    done = subprocess.run(
        command,
        capture_output=True,
        check=False,
        stdin=subprocess.DEVNULL,
        env=wide,
        preexec_fn=preexec,
    )
    return Told(done.returncode, done.stdout.decode(), done.stderr.decode("utf-8", "replace"))


async def calls_of_analyzers(client: Client) -> dict[str, int]:
    """Read how often each analyzer was called since this AIMA started."""
    found = _SAMPLE.finditer(await client.metrics())
    return {sample["analyzer"]: round(float(sample["calls"])) for sample in found}


async def until(
    what: str, condition: Callable[[], Awaitable[Any]], *, patience: float = PATIENCE_SECONDS, every: float = 0.05
) -> Any:
    """Wait for a condition and return what it found; fail with `what` when it never comes."""
    loop = asyncio.get_running_loop()
    end = loop.time() + patience
    while not (found := await condition()):
        assert loop.time() < end, f"waited in vain until {what}"
        await asyncio.sleep(every)
    return found


async def analysed(
    client: Client, files: Mapping[str, bytes], folder: Path, name: str = "a case", **options: Any
) -> Any:
    """Upload files to a new case, wait for its end, and return its dossier."""
    case = await client.create_case(name, **options)
    for file_name, content in files.items():
        path = folder / file_name
        path.write_bytes(content)
        await client.upload(case["id"], path)
    await client.wait(case["id"])
    return await client.dossier(case["id"])


@contextlib.asynccontextmanager
async def documents_of(data: Path) -> AsyncIterator[SqliteDocuments]:
    """Look into the store of a data folder, whether or not AIMA runs on it."""
    async with SqliteDocuments.open(data / "documents.db") as documents:
        yield documents


async def all_of(documents: SqliteDocuments, collection: str, **where: Any) -> Sequence[Document]:
    """Read all documents that match."""
    return await documents.find(collection, where, limit=100_000)


UNDER_WAY = ("not committed", "at rest, and the job is")
"""What the auditor says of work that an AIMA which was ended in good order had not come to."""


async def violations_in(data: Path) -> list[str]:
    """Let the auditor look at a data folder at rest, every byte of it; nobody may run on it.

    What was told last and not read yet when AIMA ended, or was still to be done, is done first, by an AIMA that runs
    for a moment: a job that stands still stays one.
    """
    for seconds in (0, 3, 10, 30):
        if seconds:
            with aima_on(data):
                await asyncio.sleep(seconds)
        found = await _violations_now(data)
        if not any(word in violation for violation in found for word in UNDER_WAY):
            break
    return found


async def _violations_now(data: Path) -> list[str]:
    with wiring.exclusive(data):
        async with wiring.embedded(data) as ports:
            seen = await snapshot.take(ports, at_rest=True, read_bytes=True)
            return [str(violation) for violation in check(seen)]


def files_below(folder: Path) -> list[Path]:
    """List every file below a folder."""
    return sorted(path for path in folder.rglob("*") if path.is_file())
