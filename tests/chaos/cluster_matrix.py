"""`python -m tests.chaos.cluster_matrix`: every fault on a cluster, one after the other; a report of what was found."""

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path

from aima_cluster import cluster
from tests.chaos.cluster_controls import run_controls
from tests.chaos.cluster_faults import Fault
from tests.chaos.cluster_ground import ECHO, Ground
from tests.chaos.cluster_lines import proxied
from tests.chaos.cluster_plan import everything
from tests.chaos.cluster_report import Matrix, Round, write

REPORT = Path("docs/generated/cluster_report.md")
REPLICAS = {
    **dict.fromkeys(("gateway", "upload", "preprocessing", "analysis-image", "fusion"), 2),
    **dict.fromkeys(("analysis-video", "analysis-audio", "gpu_manager", "dossier", "storage", "monitoring"), 1),
    "scheduler": 3,
}
"""Mostly pictures, so two of their lane; three schedulers at once all the time."""

SESSION_SECONDS = 10
"""How long Kafka waits for a member that died; 45 s by default, which would be most of the time of every round."""

MORE = 8
"""Media that are sent at a time once a case is sent and its fault lasts."""

MORE_PACE = 0.2
"""How fast, measured by the case's own: there is always work, and not more than can be done."""

CONTROLS_AFTER = 1
"""Rounds before the controls: a worker died, nothing was erased, and there is not yet an hour's work to repeat."""


async def one_round(ground: Ground, fault: Fault, media: int, seed: int, *, pause_seconds: float = 0.3) -> Round:
    """Upload a case while a fault is inflicted, wait for its end, and look."""
    began = time.monotonic()
    async with ground.stores() as ports:
        letters = await ports.documents.count("dead_letters", {"state": "open"})
        book = await ground.open_case(f"{fault.name} {seed}")
        rng = random.Random(f"{seed} {fault.name}")

        async def send(count: int, pace: float) -> None:
            await ground.send(book, count, rng, pause_seconds / pace)

        evidence, inflicted = await _inflict(ground, fault, rng, media, send)
        ended_at = await ports.documents.now()
        found = await ground.look(ports, book, ended_at, await ground.rest(ports, book), fault.threatens)
    return Round(
        fault=fault.name,
        seed=seed,
        evidence=evidence,
        inflicted=inflicted,
        media=book.drawn,
        requests=len(book.sent),
        unanswered=book.count("unknown"),
        found=found,
        seconds=time.monotonic() - began,
        dead_letters_made=found.dead_letters - letters,
        allowed_dead_letters=fault.allowed_dead_letters,
    )


async def _inflict(
    ground: Ground, fault: Fault, rng: random.Random, media: int, send: Callable[[int, float], Awaitable[None]]
) -> tuple[str, bool]:
    """Inflict a fault while there is work; give the evidence, or what went wrong with it, and whether it happened."""
    over = asyncio.Event()

    async def working() -> None:
        await send(media, 1.0)
        while fault.lasting and not over.is_set():
            await send(MORE, MORE_PACE)

    prepared = await _tried(fault.prepare(ground)) if fault.prepare else ("", True)
    beside = asyncio.gather(working(), ground.erase_canary())
    await asyncio.sleep(rng.uniform(0.5, 2.0))
    told = await _tried(fault.inflict(ground, rng)) if prepared[1] else prepared
    over.set()
    await beside
    return told


async def _tried(step: Awaitable[str]) -> tuple[str, bool]:
    """Do something; when it fails, that is told as a failure of its round, and the matrix goes on."""
    try:
        return await step, True
    except Exception as error:  # noqa: BLE001 - a fault that was not inflicted proves nothing, whatever the reason
        return f"{type(error).__name__}: {error}"[:500], False


async def matrix(
    faults: Sequence[Fault], media: int, seed: int, folder: Path, keep: Callable[[Matrix], None]
) -> Matrix:
    """Run all faults, and the controls, on one cluster; what there is so far is kept after every round."""
    extra = {**ECHO, "AIMA_KAFKA_SESSION_SECONDS": str(SESSION_SECONDS), "AIMA_SCRATCH": str(folder / "scratch")}
    found = Matrix(seed, len(faults), REPLICAS, SESSION_SECONDS, [], [])
    (folder / "media").mkdir()
    async with (
        proxied(_say) as lines,
        cluster(
            folder / "logs", replicas=REPLICAS, extra=extra, servers=lines.servers, detours=lines.detours, report=_say
        ) as running,
    ):
        ground = Ground(
            running, folder / "media", await running.key(), proxies=lines.proxies, scratch=folder / "scratch"
        )
        for number, fault in enumerate(faults):
            done = await one_round(ground, fault, media, seed + number)
            found.rounds.append(done)
            _say(f"{number + 1}/{len(faults)} {_told(done)}")
            if number + 1 == min(CONTROLS_AFTER, len(faults)):
                found.controls.extend(await run_controls(ground))
                _say(f"controls: {found.controls}")
            found = replace(found, erased=len(ground.erased))
            keep(found)
        objects, size, wrong = await ground.read_everything()
    return replace(found, objects=objects, bytes=size, in_the_end=wrong)


def _told(done: Round) -> str:
    verdict = "ok" if not done.failures() else "FAILED " + "; ".join(done.failures()[:5])
    times = f"{done.found.seconds_to_rest:.0f} of {done.seconds:.0f} s until it rested"
    return f"{done.fault}: {done.evidence}; {times}; {done.found.redone} begun again; {verdict}"


def main() -> int:
    """Run the matrix; exit status 1 when a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.cluster_matrix", description=__doc__)
    parser.add_argument("--media", type=int, default=200, help="media of each case (default 200)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="faults whose names hold one of these words, with commas between")
    parser.add_argument("--folder", type=Path, help="where to work, and what to leave for a look (default: temporary)")
    parser.add_argument("--report", type=Path, default=REPORT)
    options = parser.parse_args()
    words = options.only.split(",")
    faults = [fault for fault in everything() if any(word in fault.name for word in words)]
    only = f' --only "{options.only}"' if options.only else ""
    command = f"python -m tests.chaos.cluster_matrix --media {options.media} --seed {options.seed}{only}"

    def keep(found: Matrix) -> None:
        write(found, options.report, command)

    with tempfile.TemporaryDirectory(prefix="aima-chaos-") as temporary:
        folder: Path = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        found = asyncio.run(matrix(faults, options.media, options.seed, folder, keep))
    keep(found)
    return 1 if found.failures() else 0


def _say(line: str) -> None:
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {line}\n")


if __name__ == "__main__":
    sys.exit(main())
