"""The process of fusion: `python -m aima_fusion`."""

from aima_common.process import alone, serve
from aima_fusion.service import Fusion


def main() -> None:
    """Run until told to stop."""
    serve("fusion", alone(lambda place: Fusion(place.ports, place.ledger)))


if __name__ == "__main__":
    main()
