"""The process of the dossiers: `python -m aima_dossier`."""

from aima_common.process import alone, serve
from aima_dossier.service import DossierService


def main() -> None:
    """Run until told to stop."""
    serve("dossier", alone(lambda place: DossierService(place.ports, place.ledger)))


if __name__ == "__main__":
    main()
