"""`python -m tests.chaos.cluster_matrix`: every fault on a cluster, one after the other; a report of what was found."""

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from aima_cluster import cluster
from tests.chaos import cluster_faults
from tests.chaos.cluster_faults import Fault
from tests.chaos.cluster_ground import ECHO, Found, Ground

REPORT = Path("docs/generated/cluster_report.md")
REPLICAS = {
    **dict.fromkeys(("gateway", "upload", "preprocessing", "analysis-image", "fusion"), 2),
    **dict.fromkeys(("gpu_manager", "dossier", "storage", "monitoring"), 1),
    "scheduler": 3,
}
"""Pictures only, so one lane; three schedulers at once all the time."""


@dataclass(frozen=True)
class Round:
    """One fault, and what became of a case that was worked on meanwhile."""

    fault: str
    evidence: str
    media: int
    requests: int
    unanswered: int
    found: Found
    seconds: float
    dead_letters_made: int
    allowed_dead_letters: bool

    def failures(self) -> list[str]:
        """Say what was promised and is not so."""
        said = [f"{self.fault}: {v.invariant} {v.subject}: {v.detail}" for v in self.found.violations]
        if self.found.terminal != {"analysed": self.media}:
            said.append(f"{self.fault}: of {self.media} media {self.found.terminal} came to an end")
        if self.dead_letters_made and not self.allowed_dead_letters:
            said.append(f"{self.fault}: {self.dead_letters_made} dead letters")
        return said


async def one_round(ground: Ground, fault: Fault, media: int, seed: int, *, pause_seconds: float = 0.3) -> Round:
    """Upload a case while a fault is inflicted, wait for its end, and look."""
    rng, began = random.Random(f"{seed} {fault.name}"), time.monotonic()
    book = await ground.open_case(f"{fault.name} {seed}")
    async with ground.stores() as ports:
        letters = await ports.documents.count("dead_letters", {"state": "open"})
    sending = asyncio.create_task(ground.send(book, media, rng, pause_seconds))
    try:
        await asyncio.sleep(rng.uniform(0.5, 2.0))
        evidence = await fault.inflict(ground, rng)
        await sending
    finally:
        sending.cancel()
    found = await ground.look(book, await ground.rest(book))
    return Round(
        fault.name,
        evidence,
        media,
        len(book.sent),
        book.count("unknown"),
        found,
        time.monotonic() - began,
        found.dead_letters - letters,
        fault.allowed_dead_letters,
    )


async def matrix(faults: Sequence[Fault], media: int, seed: int, folder: Path) -> list[Round]:
    """Run all faults on one cluster."""
    rounds = []
    async with cluster(folder / "logs", replicas=REPLICAS, extra=ECHO, report=_say) as running:
        (folder / "media").mkdir()
        ground = Ground(running, folder / "media", await running.key())
        for number, fault in enumerate(faults):
            done = await one_round(ground, fault, media, seed + number)
            rounds.append(done)
            verdict = "ok" if not done.failures() else "FAILED " + "; ".join(done.failures()[:5])
            _say(f"{number + 1}/{len(faults)} {fault.name}: {done.evidence}; {done.seconds:.0f} s; {verdict}")
    return rounds


def as_markdown(rounds: Sequence[Round], command: str) -> str:
    """Write the report for people."""
    failures = [failure for one in rounds for failure in one.failures()]
    lines = [
        "# A cluster under faults",
        "",
        f"Made by `{command}`; do not edit. For every fault a case of small pictures was uploaded through two gateways",
        "while the fault was inflicted; when all had come to rest, the auditor's checker (I1 to I18) read the stores.",
        "",
        f"**{'Passed' if not failures else 'Failed'}.**",
        *(f"- {failure}" for failure in failures),
        "",
        "| fault | evidence | media | requests / without answer | violations | jobs begun again | ended | s to rest |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for one in rounds:
        ended = ", ".join(f"{count} {state}" for state, count in one.found.terminal.items())
        cells = (
            *(one.fault, one.evidence, one.media, f"{one.requests} / {one.unanswered}", len(one.found.violations)),
            *(one.found.redone, ended, f"{one.found.seconds_to_rest:.0f}"),
        )
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    lines += [
        "",
        "Not shown here: loss of power, more than one machine, several brokers or members of a replica set.",
        "",
    ]
    return "\n".join(lines)


def main() -> int:
    """Run the matrix; exit status 1 when a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.cluster_matrix", description=__doc__)
    parser.add_argument("--media", type=int, default=200, help="media of each case (default 200)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", help="faults whose names hold this")
    parser.add_argument("--report", type=Path, default=REPORT)
    options = parser.parse_args()
    faults = [fault for fault in cluster_faults.everything() if not options.only or options.only in fault.name]
    with tempfile.TemporaryDirectory(prefix="aima-chaos-") as folder:
        rounds = asyncio.run(matrix(faults, options.media, options.seed, Path(folder)))
    command = f"python -m tests.chaos.cluster_matrix --media {options.media} --seed {options.seed}"
    options.report.parent.mkdir(parents=True, exist_ok=True)
    options.report.write_text(as_markdown(rounds, command))
    told: list[dict[str, Any]] = [{**asdict(one), "failures": one.failures()} for one in rounds]
    options.report.with_suffix(".json").write_text(json.dumps(told, indent=1) + "\n")
    return 1 if any(one.failures() for one in rounds) else 0


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(main())
