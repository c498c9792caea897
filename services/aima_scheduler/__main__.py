"""The process of the scheduler: `python -m aima_scheduler`."""

from collections.abc import Mapping

from aima_common import settings
from aima_common.process import Workplace, alone, serve
from aima_scheduler.deciders.engine import Settings
from aima_scheduler.explaining import Door
from aima_scheduler.rules import rules_of
from aima_scheduler.service import Scheduler


def main() -> None:
    """Run until told to stop."""
    serve("scheduler", alone(_service), reads=_own)


def _service(place: Workplace) -> Scheduler:
    door, rules = _own(place.environment)
    return Scheduler(place.ports, place.ledger, door, rules)


def _own(environment: Mapping[str, str]) -> tuple[Door, Settings]:
    """Read where the scheduler answers, and by which rules it decides."""
    door = Door(
        settings.required(environment, "AIMA_INTERNAL_SECRET"),
        environment.get("AIMA_SCHEDULER_HOST", "127.0.0.1"),
        settings.number(environment, "AIMA_SCHEDULER_PORT", 8703),
    )
    return door, rules_of(environment)


if __name__ == "__main__":
    main()
