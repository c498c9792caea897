"""The process of the scheduler: `python -m aima_scheduler`."""

from aima_common.process import alone, serve
from aima_scheduler.service import Scheduler


def main() -> None:
    """Run until told to stop."""
    serve("scheduler", alone(lambda place: Scheduler(place.ports, place.ledger)))


if __name__ == "__main__":
    main()
