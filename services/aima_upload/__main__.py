"""The process that takes files in: `python -m aima_upload`."""

from aima_common.cluster_wiring import confined
from aima_common.process import Workplace, alone, serve
from aima_common.settings import StoreSettings
from aima_upload.reading import confined_readers
from aima_upload.service import Upload
from aima_upload.settings import Settings


def main() -> None:
    """Run until told to stop."""
    serve("upload", alone(_service), reads=Settings.from_environment)


def _service(place: Workplace) -> Upload:
    strangers = confined(StoreSettings.from_environment(place.environment))
    own = Settings.from_environment(place.environment)
    return Upload(place.ports, own, ledger=place.ledger, readers=confined_readers(place.ports, strangers))


if __name__ == "__main__":
    main()
