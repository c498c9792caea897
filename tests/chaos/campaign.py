"""The same media twice: once in peace, once while everything is killed again and again."""

import asyncio
import difflib
import itertools
import time
from dataclasses import dataclass
from pathlib import Path

import orjson

from tests.chaos.controls import Control, run_controls
from tests.chaos.installation import Installation
from tests.chaos.killing import Kill, kill_all, schedule
from tests.chaos.uploading import Book, open_case, upload_all
from tests.chaos.verdict import Verdict, judge

POLL_SECONDS = 0.1
UPLOAD_SHARE = 0.5
"""Part of the undisturbed time over which the uploads are spread."""

KILL_SHARE = 0.8
"""Part of the undisturbed time over which the kills are spread."""

MOST_LINES = 80
"""How much of a difference is shown."""


@dataclass(frozen=True)
class Plan:
    """What is to be done. The same plan with the same media draws the same kills."""

    seed: int
    kills: int
    patience_seconds: float
    """How long work may take to come to rest, in peace or not, before it counts as hung."""
    analyzers: str | None = None


@dataclass(frozen=True)
class Peace:
    """What an undisturbed run made of the media."""

    verdict: Verdict
    seconds: float


@dataclass(frozen=True)
class Outcome:
    """What a campaign led to."""

    plan: Plan
    media: int
    peace: Peace
    verdict: Verdict
    kills: list[Kill]
    book: Book
    controls: list[Control]
    seconds: float

    @property
    def leases(self) -> int:
        """Jobs that were held when something was killed: as much may be done again, no more."""
        return sum(kill.leases for kill in self.kills)

    def failures(self) -> list[str]:
        """Say what was promised and is not so."""
        found = [f"undisturbed: {v.invariant} {v.subject}: {v.detail}" for v in self.peace.verdict.violations]
        found += [f"{v.invariant} {v.subject}: {v.detail}" for v in self.verdict.violations]
        found += self.verdict.complaints
        if self.verdict.canonical != self.peace.verdict.canonical:
            found.append("the canonical dossiers differ:\n" + differences(self.peace.verdict, self.verdict))
        if not self.peace.verdict.canonical:
            found.append("no dossier was written")
        if self.verdict.redone > self.leases:
            found.append(f"{self.verdict.redone} jobs were begun again, {self.leases} were held at the kills")
        found += [
            f"control {c.name}: {c.with_it or 'the checker noticed nothing'}" for c in self.controls if not c.passed
        ]
        return found


async def in_peace(folder: Path, files: list[Path], plan: Plan) -> Peace:
    """Run undisturbed."""
    house, began = Installation(folder / "data", plan.analyzers), time.monotonic()
    try:
        async with asyncio.timeout(plan.patience_seconds):
            await house.start()
            book = await open_case(house, "case")
            await upload_all(house, book, files, 0.0, plan.seed)
            await house.rest()
            seconds = time.monotonic() - began
            await house.stop()
    finally:
        house.end()
    return Peace(await judge(house.data, book), seconds)


async def under_fire(folder: Path, files: list[Path], plan: Plan, peace: Peace) -> Outcome:
    """Run while everything is killed at random moments after the first segment is done; then look at what is left."""
    house, began = Installation(folder / "data", plan.analyzers), time.monotonic()
    planned = schedule(plan.kills, peace.seconds * KILL_SHARE / plan.kills, plan.seed)
    try:
        async with asyncio.timeout(plan.patience_seconds):
            await house.start()
            book = await open_case(house, "case")
            spread = peace.seconds * UPLOAD_SHARE
            uploading = asyncio.create_task(upload_all(house, book, files, spread, plan.seed))
            try:
                await _first_segment_done(house, book, uploading)
                kills = await kill_all(house, planned)
                await uploading
            finally:
                uploading.cancel()
            await house.rest()
            await house.stop()
    finally:
        house.end()
    verdict = await judge(house.data, book)
    controls = await run_controls(house.data, folder / "controls")
    return Outcome(plan, len(files), peace, verdict, kills, book, controls, time.monotonic() - began)


async def _first_segment_done(house: Installation, book: Book, uploading: "asyncio.Task[None]") -> None:
    while True:
        async with house.client() as client:
            if (await client.jobs(case=book.case, state="done", kind="analyse", limit=1))["jobs"]:
                return
        if uploading.done():
            uploading.result()
        await asyncio.sleep(POLL_SECONDS)


def differences(one: Verdict, other: Verdict) -> str:
    """Show where two canonical dossiers part."""
    lines = difflib.unified_diff(_laid_out(one), _laid_out(other), "undisturbed", "under fire", lineterm="", n=2)
    return "\n".join(itertools.islice(lines, MOST_LINES))


def _laid_out(verdict: Verdict) -> list[str]:
    return orjson.dumps(orjson.loads(verdict.canonical or b"null"), option=orjson.OPT_INDENT_2).decode().splitlines()
