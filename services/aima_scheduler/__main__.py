"""The process of the scheduler: `python -m aima_scheduler`."""

from aima_common import settings
from aima_common.process import Workplace, alone, serve
from aima_scheduler.explaining import Door
from aima_scheduler.rules import rules_of
from aima_scheduler.service import Scheduler


def main() -> None:
    """Run until told to stop."""
    serve("scheduler", alone(_service))


def _service(place: Workplace) -> Scheduler:
    door = Door(
        settings.required(place.environment, "AIMA_INTERNAL_SECRET"),
        place.environment.get("AIMA_SCHEDULER_HOST", "127.0.0.1"),
        settings.number(place.environment, "AIMA_SCHEDULER_PORT", 8703),
    )
    return Scheduler(place.ports, place.ledger, door, rules_of(place.environment))


if __name__ == "__main__":
    main()
