"""Everything that makes the engine fast, against the same engine whose parts look at everything for every question."""

import random
from collections.abc import Iterator, Sequence

import pytest

from aima_common.contracts.media import Priority
from aima_scheduler.deciders import engine as engine_module
from aima_scheduler.deciders import queue
from aima_scheduler.deciders.engine import SEED_RULES, Decision, Engine, Settings
from aima_scheduler.deciders.fleet import Fleet
from aima_scheduler.deciders.model import Gpu, Job, Machine, Placement, Shape
from aima_scheduler.deciders.ordering import Order, Ordering
from aima_scheduler.deciders.placement import Prices
from aima_scheduler.deciders.scoring import Scoring
from tests.reference.plain_deciders import PlainFinding, PlainRound, PlainUsage, PlainWaiting

JOBS = 1_200
NOW = 10_000.0
T4, A100 = Gpu("T4", 16_384), Gpu("A100", 81_920)
SHAPES = (
    Shape(1_000, 2_048),
    Shape(2_000, 4_096),
    Shape(2_000, 16_384),
    Shape(8_000, 16_384),
    Shape(4_000, 8_192, locations=("local",)),
    Shape(2_000, 4_096, 1, 250, gpu_memory_mib=4_096),
    Shape(1_000, 2_048, 1, 500, gpu_memory_mib=8_192),
    Shape(4_000, 16_384, 1, gpu_types=("A100",)),
    Shape(4_000, 16_384, 2, gpu_memory_mib=16_384),
    Shape(4_000, 8_192, members=3),
    Shape(2_000, 8_192, 1, members=2),
    Shape(16_000, 65_536),
    Shape(16_000, 32_768, 4, gpu_types=("H100",)),
)

RULES = {
    "usual": Settings(),
    "weighted, and the oldest of those that starve": Settings(
        weights={"tenant-0": 3.0, "tenant-1": 0.5}, half_life=60.0, starvation_after=300.0, starvation_every=3
    ),
    "short jobs first, several starts kept": Settings(ordering=Ordering(Order.SEED_SHORT), reservations=4),
    "dear places and far data": Settings(scoring=Scoring.FGD, prices=Prices(default_bandwidth=1e6, per_cost=0.1)),
    "best fit, nobody overtakes": Settings(scoring=Scoring.BEST_FIT, head_blocks=True),
    "as the document has it": SEED_RULES,
}


def machines(count: int) -> list[Machine]:
    """Make machines of which several are alike, so that they share rooms; some of them are far and dear."""
    kinds: Sequence[tuple[Gpu, ...]] = ((), (T4,) * 4, (), (T4, T4, A100), (), (A100,) * 2)
    return [
        Machine(
            f"machine-{number:02}", 8_000 * (1 + number % 2), 65_536, kinds[number % len(kinds)],
            *(("cloud", 2.5) if number % 4 == 3 else ("local", 0.0)),
        )
        for number in range(count)
    ]  # fmt: skip


def jobs(seed: int, count: int) -> Iterator[Job]:
    chance = random.Random(seed)
    for number in range(count):
        yield Job(
            f"job-{number}",
            f"tenant-{chance.randrange(4)}",
            chance.choice(list(Priority)),
            chance.choice(SHAPES),
            # Equals in age and, by the clamps of the score, equals in score too, so that ties are met.
            NOW - chance.choice([0.0, 30.0, 500.0, chance.uniform(0, 8_000)]),
            deadline=NOW + chance.uniform(-1_000, 9_000) if chance.random() < 0.3 else None,
            estimate=chance.choice([None, 10.0, 60.0, 600.0, 7_200.0]),
            longest=chance.choice([None, 900.0]),
            data_location=chance.choice([None, "local", "cloud"]),
            data_bytes=chance.choice([0, 10**9]),
        )


def told(engine: Engine, seed: int) -> list[list[str]]:
    """Let jobs come and end and machines come and go; write down what was decided at every step."""
    chance, waiting, now = random.Random(seed), jobs(seed, JOBS), NOW
    fleet = machines(30)
    for machine in fleet:
        engine.machine_added(machine)
    for _ in range(JOBS // 2):
        engine.submit(next(waiting))
    log = [_words(engine.decide(now))]
    for step in range(120):
        now += chance.choice([0.0, 0.5, 20.0, 200.0])
        for _ in range(chance.randrange(8)):
            if (job := next(waiting, None)) is not None:
                engine.submit(job)
        for name in chance.sample(sorted(engine.running), min(len(engine.running), chance.randrange(6))):
            engine.ended(name, now)
        if step % 15 == 7:
            gone = chance.choice(fleet)
            for job in engine.machine_removed(gone.id, now):
                engine.submit(job)
            log.append(_words(engine.decide(now)))
            engine.machine_added(gone)
        log.append(_words(engine.decide(now, most=5 if step % 10 == 3 else None)))
        log.append([f"{kept.job.id} {kept.machines} {kept.at}" for kept in engine.reservations])
    return log


def _words(decisions: Sequence[Decision]) -> list[str]:
    """Placements in their order, then who was refused, in any."""
    placed = [f"{one.job} {one.slots}" for one in decisions if isinstance(one, Placement)]
    return placed + sorted(f"{one}" for one in decisions if not isinstance(one, Placement))


def plain_engine(settings: Settings) -> Engine:
    engine = Engine(settings)
    engine.waiting = PlainWaiting(settings.ordering)  # type: ignore[assignment]
    engine.usage = PlainUsage(settings.weights, settings.half_life)  # type: ignore[assignment]
    return engine


@pytest.mark.parametrize(("seed", "rules"), [*enumerate(RULES.values())], ids=RULES.keys())
def test_what_is_fast_decides_as_what_is_plain(seed: int, rules: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "LEADERS", 4)  # fewer than a lane of so few jobs has, so that all of it is met
    fast = Engine(rules)
    ours = told(fast, seed)
    monkeypatch.setattr(engine_module, "Round", PlainRound)
    monkeypatch.setattr("aima_scheduler.deciders.placement.find", PlainFinding())
    assert ours == told(plain_engine(rules), seed)
    assert sum(map(len, ours)) > 300, "the control: a lot was decided"
    _nothing_else_is_taken(fast)


def _nothing_else_is_taken(engine: Engine) -> None:
    """Count what runs into an empty fleet: it leaves the same free, but for what is kept from everybody."""
    empty = Fleet(engine.fleet.machines)
    for one in engine.running.values():
        empty.take(one.job.shape, one.slots)
    kept = {machine for one in engine.reservations for machine in one.machines}
    for machine in engine.fleet.machines:
        if machine.id not in kept:
            assert engine.fleet.free(machine.id) == empty.free(machine.id)
            assert engine.fleet.gpus(machine.id) == empty.gpus(machine.id)
