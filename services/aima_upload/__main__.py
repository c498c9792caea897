"""The process that takes files in: `python -m aima_upload`."""

from aima_common.process import alone, serve
from aima_upload.service import Upload
from aima_upload.settings import Settings


def main() -> None:
    """Run until told to stop."""
    serve("upload", alone(lambda place: Upload(place.ports, Settings.from_environment(place.environment))))


if __name__ == "__main__":
    main()
