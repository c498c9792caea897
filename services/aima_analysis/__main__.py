"""A process of one or more lanes of analysis: `AIMA_LANES=video python -m aima_analysis`."""

import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

from aima_analysis.analyzers import chosen
from aima_analysis.analyzers.analyzer import Analyzer
from aima_analysis.analyzers.description import describe
from aima_analysis.embedding import Embedding
from aima_analysis.inference_pool import InferencePool
from aima_analysis.service import AnalysisService
from aima_common import settings
from aima_common.contracts.media import MediumType
from aima_common.errors import SettingsError
from aima_common.process import Workplace, serve
from aima_common.runtime import Service
from aima_models.store import ModelStore


def main() -> None:
    """Run until told to stop."""
    serve("analysis", _build, reads=_Own.read)


@dataclass(frozen=True)
class _Own:
    """The settings that only these processes have."""

    lanes: tuple[MediumType, ...]
    analyzers: list[type[Analyzer]]
    secret: str
    host: str
    port: int

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> "_Own":
        return cls(
            lanes_in(environment),
            chosen(environment.get("AIMA_ANALYZERS")),
            settings.required(environment, "AIMA_INTERNAL_SECRET"),
            environment.get("AIMA_ANALYSIS_HOST", "127.0.0.1"),
            settings.number(environment, "AIMA_ANALYSIS_PORT", 8702),
        )


@contextlib.asynccontextmanager
async def _build(place: Workplace) -> AsyncIterator[Service]:
    own = _Own.read(place.environment)
    store = ModelStore()
    descriptions = [describe(analyzer, store) for analyzer in own.analyzers]
    async with InferencePool(batch_processes=place.slots) as pool:
        embedding = Embedding(pool.embed_text, own.secret, own.host, own.port)
        yield AnalysisService(
            place.ports,
            place.ledger,
            pool,
            descriptions,
            machine=place.machine,
            slots=place.slots,
            lanes=own.lanes,
            embedding=embedding,
        )


def lanes_in(environment: Mapping[str, str]) -> tuple[MediumType, ...]:
    """Read whose jobs a process takes; raise `SettingsError` for a lane that does not exist."""
    named = settings.words(environment, "AIMA_LANES") or tuple(MediumType)
    unknown = sorted(set(named) - set(MediumType))
    if unknown:
        raise SettingsError(f"AIMA_LANES names {unknown[0]!r}, and the lanes are {', '.join(MediumType)}")
    return tuple(MediumType(name) for name in named)


if __name__ == "__main__":
    main()
