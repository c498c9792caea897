"""The days on which jobs give way: everything comes to its end, and what is done again is counted as lost."""

from aima_common.contracts.media import Priority
from aima_scheduler.deciders.model import Job, Machine, Shape
from aima_scheduler.deciders.preemption import Preemption
from benchmarks.scheduler.preemption import Days
from benchmarks.scheduler.workloads import Work

WHOLE = Shape(4000, 4096)


def work(name: str, priority: Priority, at: float, seconds: float) -> Work:
    return Work(Job(name, "t", priority, WHOLE, at, estimate=seconds, checkpointable=True), seconds)


def passed(rule: Preemption | None) -> Days:
    film, urgent = work("film", Priority.BATCH, 0, 1000), work("urgent", Priority.CRITICAL, 100, 50)
    days = Days(rule, [Machine("m", 4000, 4096)], [film, urgent, work("last", Priority.NORMAL, 5000, 10)])
    days.pass_by()
    return days


def test_without_it_the_critical_job_waits_for_the_film() -> None:
    days = passed(None)
    assert days.ended == {"film": 1000, "urgent": 1050, "last": 5010}
    assert (days.gave_way, days.lost) == (0, 0)


def test_with_it_the_film_is_done_again_after_it() -> None:
    days = passed(Preemption(patience=5))
    assert days.ended == {"urgent": 155, "film": 1155, "last": 5010}
    assert (days.gave_way, days.lost) == (1, 105)
    figures = days.figures()
    assert (figures["critical"], figures["low_and_batch"], figures["lost"]) == (5, 155, 105)


def test_a_budget_that_is_too_small_leaves_it_as_it_was() -> None:
    assert passed(Preemption(budget=104)).ended == passed(None).ended
    assert passed(Preemption(budget=105)).ended != passed(None).ended, "the control"
