"""Tenants of a class take turns, and across classes the more urgent goes first."""

from aima_common.jobs import turns
from aima_common.jobs.turns import Turns
from aima_common.ports.documents import Document

SCORES = {"high": 50.0, "normal": 10.0}


def job(name: str, tenant: str, priority: str = "normal") -> Document:
    return Document(name, tenant, "ready", 0, 1, {"priority": priority})


def order(kept: Turns, *jobs: Document) -> list[str]:
    return [one.id for one in kept.order(jobs, lambda one: SCORES.get(one.body["priority"], 1.0))]


FLOOD = [job(f"f{number}", "flood") for number in range(4)]
OTHERS = [job("q0", "quiet"), job("q1", "quiet")]


def test_a_class_goes_from_tenant_to_tenant_and_keeps_the_order_of_each() -> None:
    assert order(Turns(), *FLOOD, *OTHERS) == ["f0", "q0", "f1", "q1", "f2", "f3"]


def test_who_was_served_last_comes_last_in_that_class_alone() -> None:
    kept = Turns()
    kept.served(FLOOD[0])
    assert order(kept, *FLOOD[1:], *OTHERS) == ["q0", "f1", "q1", "f2", "f3"]
    urgent = [job("fh", "flood", "high"), job("qh", "quiet", "high")]
    assert order(kept, *urgent, *FLOOD[1:]) == ["fh", "qh", "f1", "f2", "f3"]


def test_with_one_tenant_the_order_stays() -> None:
    kept = Turns()
    kept.served(FLOOD[2])
    assert order(kept, *FLOOD) == ["f0", "f1", "f2", "f3"]


def test_only_so_many_tenants_are_remembered() -> None:
    kept = Turns()
    for number in range(turns.REMEMBERED + 5):
        kept.served(job("j", f"tenant-{number}"))
    assert len(kept._served) == turns.REMEMBERED
    assert order(kept, job("new", f"tenant-{turns.REMEMBERED}"), job("forgotten", "tenant-0")) == ["forgotten", "new"]
