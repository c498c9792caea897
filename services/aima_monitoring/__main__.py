"""The process of monitoring: `python -m aima_monitoring`."""

from aima_common.process import alone, serve
from aima_monitoring.service import Monitoring


def main() -> None:
    """Run until told to stop."""
    serve("monitoring", alone(lambda place: Monitoring(place.ports)))


if __name__ == "__main__":
    main()
