"""The process of storage: `python -m aima_storage`."""

from aima_common.process import alone, serve
from aima_storage.service import Storage


def main() -> None:
    """Run until told to stop."""
    serve("storage", alone(lambda place: Storage(place.ports)))


if __name__ == "__main__":
    main()
