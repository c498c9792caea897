"""The queue, the machines and the starts that are kept free, at one moment, as a tenant may see them. Pure.

A tenant sees jobs of its own by their ids; the work of others is seen only as places in the queue and as what is used.
"""

import heapq
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aima_scheduler.board import Board, Facts, machine_of, sorted_out
from aima_scheduler.deciders.model import Placement
from aima_scheduler.deciders.queue import place_of
from aima_scheduler.deciders.reservation import Reservation

MOST_STARTS = 150
"""The future is played through until so many jobs have started: nobody plans by what comes later."""

RESOURCES = ("cpus", "memory_bytes", "gpus")


@dataclass(frozen=True)
class Seen:
    """What the store says at one moment."""

    machines: Sequence[Facts]
    working: Sequence[Facts]
    """Jobs that machines work on."""
    ahead: Sequence[Facts]
    """Jobs that wait at their machines for a free worker."""
    waiting: Sequence[Facts]
    """Jobs that have no machine yet."""


@dataclass(frozen=True)
class Load:
    """A machine, with what is used of it and who works there."""

    machine: Facts
    used: Mapping[str, float]
    working: Mapping[str, int]
    """Tenant -> how many of its jobs are worked on."""
    ahead: Mapping[str, int]
    """Tenant -> how many of its jobs come next."""


@dataclass(frozen=True)
class Picture:
    """Everything at one moment; nobody is shown all of it."""

    at: float
    loads: Sequence[Load]
    order: Sequence[tuple[str, str]]
    """Tenant and job of all that wait, those that come first at the beginning."""
    starts: Mapping[str, float]
    """Job -> in how many seconds it will start, as far as anything is known."""
    kept: Sequence[Reservation]

    def shown_to(self, tenant: str, most: int) -> dict[str, Any]:
        """Show it to a tenant, with so many of its waiting jobs at most."""
        waiting = [
            {"job": job, "position": place, "starts_in_seconds": self.starts.get(job)}
            for place, (owner, job) in enumerate(self.order, start=1)
            if owner == tenant
        ]
        return {
            "waiting": waiting[:most],
            "machines": [_machine(load, tenant) for load in self.loads],
            "reservations": [
                {
                    "job": kept.job.id if kept.job.tenant == tenant else None,
                    "machines": sorted(set(kept.machines)),
                    "starts_in_seconds": max(0.0, kept.at - self.at),
                }
                for kept in self.kept
            ],
        }


def draw(board: Board, seen: Seen, reservations: Sequence[Reservation], now: float) -> Picture:
    """Draw what was seen, on an empty board, which is used up."""
    seen = _believed(board, seen)
    order = _set_up(board, seen, now)
    names = {job for _, job in order}
    kept = [one for one in reservations if one.job.id in names]
    return Picture(now, loads(seen), order, starts(board, now), kept)


def _believed(board: Board, seen: Seen) -> Seen:
    """Leave out what says nonsense: it is set aside, and the others are shown."""

    def some(found: Sequence[Facts], read: Callable[[Facts], object] = board.job_of) -> list[Facts]:
        understood, _ = sorted_out(found, read)
        return [one for one in found if one.id in understood]

    return Seen(some(seen.machines, machine_of), some(seen.working), some(seen.ahead), some(seen.waiting))


def _set_up(board: Board, seen: Seen, now: float) -> list[tuple[str, str]]:
    """Put what was seen on the board; list tenant and job of all that wait, in their order."""
    board.set_machines(seen.machines, now)
    board.set_running([*seen.working, *seen.ahead], now)
    board.set_waiting(seen.waiting, now)
    ordering = board.engine.settings.ordering
    return [(job.tenant, job.id) for job in sorted(board.engine.waiting, key=lambda job: place_of(job, ordering, now))]


def loads(seen: Seen) -> list[Load]:
    """Sum up what is used of every machine: by what is worked on, not by what comes next there."""
    used: dict[str, Counter[str]] = {one.id: Counter() for one in seen.machines}
    working: dict[str, Counter[str]] = {one.id: Counter() for one in seen.machines}
    ahead: dict[str, Counter[str]] = {one.id: Counter() for one in seen.machines}
    for job in seen.working:
        machine = str(job.body["machine"])
        if machine in used:
            needs = {"cpus": 1, **job.body["needs"]}
            used[machine].update({name: needs.get(name) or 0 for name in RESOURCES})
            working[machine][job.tenant] += 1
    for job in seen.ahead:
        if (machine := str(job.body["machine"])) in ahead:
            ahead[machine][job.tenant] += 1
    return [Load(one, used[one.id], working[one.id], ahead[one.id]) for one in seen.machines]


def starts(board: Board, now: float) -> dict[str, float]:
    """Play the future through once, everything taking as long as it does on average; the board is used up.

    Of what nothing is known never ends in this future: whoever waits for its room is not told a start.
    """
    jobs = {job.id: job for job in board.engine.waiting}
    ends: list[tuple[float, str]] = []
    for one in board.engine.running.values():
        if one.job.estimate is not None:
            ran = now - one.started_at
            # Who overran the average is given half as much again, as reservations do.
            seconds = one.job.estimate if ran < one.job.estimate else 1.5 * ran + 1
            ends.append((one.started_at + seconds, one.job.id))
    heapq.heapify(ends)
    at, told = now, dict[str, float]()
    while True:
        for decision in board.decide(at, reasons=False):
            if isinstance(decision, Placement):
                told[decision.job] = at - now
                if (estimate := jobs[decision.job].estimate) is not None:
                    heapq.heappush(ends, (at + estimate, decision.job))
        if not ends or len(told) >= MOST_STARTS or not len(board.engine.waiting):
            return told
        at, ended = heapq.heappop(ends)
        board.undo(ended, at)


def _machine(load: Load, tenant: str) -> dict[str, Any]:
    body = load.machine.body
    whole = {"cpus": body["cpus"], "memory_bytes": body["memory_bytes"], "gpus": len(body.get("gpus", []))}
    return {
        "id": load.machine.id,
        "location": str(body.get("location", "local")),
        "total": whole,
        "used": {name: load.used.get(name, 0) for name in RESOURCES},
        "your_jobs": load.working.get(tenant, 0),
        "your_next_jobs": load.ahead.get(tenant, 0),
    }
