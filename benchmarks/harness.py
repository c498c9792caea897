"""What the measurements share: a running AIMA, its client, and how figures are told."""

import argparse
import asyncio
import contextlib
import json
import os
import signal
import statistics
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
import psutil

MIB = 1 << 20


@dataclass(frozen=True)
class Running:
    """An AIMA of our own, and a session with its key."""

    url: str
    process: psutil.Process
    session: aiohttp.ClientSession
    ready_seconds: float

    async def case(self, name: str, priority: str = "normal") -> str:
        """Open a case."""
        async with self.session.post(f"{self.url}/v1/cases", json={"name": name, "priority": priority}) as answer:
            answer.raise_for_status()
            return str((await answer.json())["id"])

    async def upload(self, case: str, name: str, data: Any) -> dict[str, Any]:
        """Upload bytes or a stream."""
        query = urlencode({"case": case, "file_name": name})
        async with self.session.post(f"{self.url}/v1/uploads?{query}", data=data) as answer:
            answer.raise_for_status()
            return dict(await answer.json())

    async def state(self, case: str) -> dict[str, Any]:
        """Read a case."""
        async with self.session.get(f"{self.url}/v1/cases/{case}") as answer:
            answer.raise_for_status()
            return dict(await answer.json())

    async def finished(self, case: str, items: int, every: float = 0.02, limit: float = 3600) -> dict[str, Any]:
        """Wait for a complete dossier of so many items."""
        async with asyncio.timeout(limit):
            while True:
                state = await self.state(case)
                dossier = state["dossier"]
                if dossier and dossier["complete"] and dossier["items"] == items:
                    return state
                await asyncio.sleep(every)

    def tree_bytes(self) -> int:
        """Sum the memory of the process and its descendants: shared pages count once (PSS)."""
        total = 0
        for process in (self.process, *self.process.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                total += process.memory_full_info().pss
        return total


@contextlib.asynccontextmanager
async def running(folder: Path, *arguments: str) -> AsyncIterator[Running]:
    """Start AIMA on a data folder and stop it again."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "aima_embedded", "--data", str(folder), *arguments]
    environment = {**os.environ, "AIMA_STATE": str(folder / "state")}
    child = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, env=environment)
    assert child.stdout is not None
    try:
        line = await child.stdout.readline()
        if not line:
            raise RuntimeError("AIMA did not start; its messages are above")
        ready = time.perf_counter() - started
        key = (folder / "key").read_text()
        headers = {"Authorization": f"Bearer {key}"}
        timeout = aiohttp.ClientTimeout(total=None)
        async with aiohttp.ClientSession(headers=headers, timeout=timeout) as session:
            yield Running(json.loads(line)["url"], psutil.Process(child.pid), session, ready)
    finally:
        with contextlib.suppress(ProcessLookupError):
            child.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(child.wait(), 30)
        except TimeoutError:
            child.kill()
            await child.wait()


def parser(description: str, repeats: int = 5) -> argparse.ArgumentParser:
    """Make the command line that every measurement has."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--json", action="store_true", help='print one object {"name", "metrics"} and nothing else')
    made.add_argument(
        "--repeats", type=int, default=repeats, help=f"runs that medians are taken of (default {repeats})"
    )
    return made


def note(text: str) -> None:
    """Tell a person how far it is, on standard error."""
    print(text, file=sys.stderr, flush=True)


def spread(values: Sequence[float]) -> dict[str, float]:
    """Give the least, the median and the largest of some values."""
    return {
        "min": round(min(values), 4),
        "median": round(statistics.median(values), 4),
        "max": round(max(values), 4),
        "runs": len(values),
    }


def report(name: str, metrics: Mapping[str, Any], *, as_json: bool) -> None:
    """Print the figures, for machines or for people."""
    if as_json:
        print(json.dumps({"name": name, "metrics": metrics}))
        return
    print(f"\n{name}")
    for metric, value in metrics.items():
        print(f"  {metric:42} {value}")
