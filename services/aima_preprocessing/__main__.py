"""The process that makes media analysable: `python -m aima_preprocessing`."""

import contextlib
from collections.abc import AsyncIterator, Mapping

from aima_common import settings
from aima_common.process import Workplace, serve
from aima_common.runtime import Service
from aima_preprocessing.decoder_client import DecoderClient
from aima_preprocessing.service import Preprocessing


def main() -> None:
    """Run until told to stop."""
    serve("preprocessing", _build, reads=_unsandboxed)


@contextlib.asynccontextmanager
async def _build(place: Workplace) -> AsyncIterator[Service]:
    decoder = DecoderClient(unsandboxed=_unsandboxed(place.environment))

    async def sandbox() -> str:
        missing = decoder.refuses_media
        return f"media wait: this machine lacks {missing}" if missing else "ok"

    await decoder.start()
    place.health.add("sandbox", sandbox)
    try:
        yield Preprocessing(place.ports, place.ledger, decoder, slots=place.slots)
    finally:
        await decoder.close()


def _unsandboxed(environment: Mapping[str, str]) -> bool:
    return settings.choice(environment, "AIMA_UNSANDBOXED", ("no", "yes")) == "yes"


if __name__ == "__main__":
    main()
