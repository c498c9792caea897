"""A decoder and an inference that pretend, and all services between them, for real, in one loop."""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aima_analysis.analyzers.analyzer import Analysis
from aima_analysis.analyzers.description import Description
from aima_analysis.service import AnalysisService
from aima_common.contracts import messages as m
from aima_common.contracts.derivatives import Frame, pack_frames
from aima_common.contracts.media import Finding, FindingVector, MediumType, Segment
from aima_common.contracts.telling import tell
from aima_common.ids import Sha256, TenantId, medium_id
from aima_common.ports.documents import Insert
from aima_common.runtime import Service, run
from aima_dossier.service import DossierService
from aima_fusion.service import Fusion
from aima_gpu_manager.domain import Inventory
from aima_gpu_manager.service import GpuManager
from aima_monitoring.service import Monitoring
from aima_preprocessing.decoder_client import PreparationPlan
from aima_preprocessing.events import Event, Finished, Probed, SegmentDecoded
from aima_preprocessing.refusals import truncated
from aima_preprocessing.service import Preprocessing
from aima_scheduler.service import Scheduler
from aima_storage.service import Storage
from aima_upload.service import Upload
from aima_upload.settings import Settings
from tests.service.stage import PROBE, STILL, TENANT, Stage, analyzer_body, segment

MACHINE = "here"


@dataclass
class PretendedDecoder:
    """Makes the same segments of every film; content that begins with b"cut" breaks off after the first."""

    segments: int = 2
    asked_from: list[int] = field(default_factory=list)
    """From which segment each call was asked to begin."""
    before: Callable[[int], Any] | None = None
    """Awaited before each segment is handed out."""

    async def prepare(
        self, source: int | str, plan: PreparationPlan, start_segment: int = 0, **_: Any
    ) -> AsyncGenerator[Event, None]:
        """Decode."""
        content = await asyncio.to_thread(Path(str(source)).read_bytes)
        self.asked_from.append(start_segment)
        if content.startswith(b"photo"):
            yield Probed(STILL)
            yield Finished(STILL, 0, b"jpeg of " + content, b"thumbnail of " + content, "0" * 16)
            return
        yield Probed(PROBE)
        for index in range(start_segment, self.segments):
            if self.before:
                await self.before(index)
            frames = pack_frames([Frame(index * 60.0 + 30, b"jpeg of " + content)])
            yield SegmentDecoded(segment(index), frames, None, None)
            if content.startswith(b"cut"):
                raise truncated("the index at its end is missing")
        yield Finished(PROBE, self.segments, b"poster of " + content, None, None)


@dataclass
class PretendedInference:
    """Finds one label in everything, and makes a vector of it."""

    calls: list[str] = field(default_factory=list)

    async def analyse(
        self,
        analyzer: str,
        type: MediumType,  # noqa: A002 - the field's word
        segment: Segment | None,
        blobs: Sequence[bytes],
        deadline_seconds: float,
        *,
        interactive: bool = False,
    ) -> Analysis:
        """Run an analyzer."""
        self.calls.append(analyzer)
        start = segment.core_start if segment else 0.0
        found = Finding(
            kind="label", start_seconds=start, end_seconds=start, label="cat", confidence=0.5, analyzer=analyzer
        )
        seen = hashlib.sha256(blobs[0]).digest()
        return Analysis(findings=[found], vectors=[FindingVector(space="images", vector=[x / 255 for x in seen])])


@dataclass
class Everyone:
    """All services but the gateway, on one stage."""

    stage: Stage
    decoder: PretendedDecoder
    inference: PretendedInference

    async def upload(self, content: bytes, case: str = "case", item: str = "item") -> str:
        """Do what upload does with a whole file; return the medium."""
        sha256 = hashlib.sha256(content).hexdigest()
        medium = medium_id(TenantId(TENANT), Sha256(sha256))
        key = f"t/{TENANT}/originals/{sha256}"
        original = {"key": key, "sha256": sha256, "size_bytes": len(content)}
        documents, now = self.stage.ports.documents, self.stage.ports.clock.now()
        await self.stage.ports.objects.put(key, content)
        facts = {"name": case, "created_at": now.isoformat(), "options": {}}
        await documents.insert("cases", Insert(case, TENANT, "open", facts))
        body = {"sha256": sha256, "size_bytes": len(content), "object": original}
        await documents.insert("media", Insert(medium, TENANT, "stored", body))
        told = m.MediumUploaded.model_validate(
            {"case": case, "item": item, "medium": medium, "file_name": item, "original": original}
        )
        record = tell(told, tenant=TENANT, key=medium, cause=item, time=now)
        line = {"case": case, "medium": medium, "ordinal": 1, "file_name": item, "accepted_at": now.isoformat()}
        line |= {"sha256": sha256, "size_bytes": len(content)}
        assert await documents.insert("items", Insert(item, TENANT, "accepted", line), outbox=[record])
        return medium

    async def until(self, condition: Callable[[], Any]) -> None:
        """Wait for something to become true."""
        async with asyncio.timeout(60):
            while not await condition():
                await asyncio.sleep(0.05)

    async def ended(self, case: str = "case") -> None:
        """Wait until a case's dossier is complete, and nothing is left to do."""

        async def complete() -> bool:
            dossier = await self.stage.ports.documents.load("dossiers", case)
            current = dossier.body["current"] if dossier else None
            return bool(current and current["complete"])

        await self.until(complete)
        await self.until(self.at_rest)

    async def at_rest(self) -> bool:
        """Tell whether nothing is ready, held or on its way."""
        documents = self.stage.ports.documents
        waiting = await documents.count("jobs", {"state": ["ready", "leased"]})
        return not waiting and not await documents.outbox(1)


class _Handling:
    """A service without its own loops: upload needs no port here."""

    def __init__(self, service: Service) -> None:
        self.name = service.name
        self.handlers = service.handlers

    def background(self) -> list[Any]:
        return []


@contextlib.asynccontextmanager
async def everyone(stage: Stage, decoder: PretendedDecoder | None = None) -> AsyncIterator[Everyone]:
    """Run all services that a medium passes, and those that watch."""
    ports, ledger = stage.ports, stage.ledger
    house = Everyone(stage, decoder or PretendedDecoder(), PretendedInference())
    label = analyzer_body("labels", accepts=("video", "image"), models=[], parameters={})
    analysis = AnalysisService(ports, ledger, house.inference, [Description(label, None)], machine=MACHINE, slots=2)
    services: list[Service] = [
        _Handling(Upload(ports, Settings())),
        Preprocessing(ports, ledger, house.decoder, slots=2),
        Scheduler(ports, ledger),
        GpuManager(ports, lambda: Inventory(MACHINE, 2.0, 8 << 30)),
        analysis,
        Fusion(ports, ledger),
        DossierService(ports, ledger),
        Storage(ports),
        Monitoring(ports),
    ]
    life = asyncio.create_task(run(ports, *services))
    try:
        yield house
    finally:
        life.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await life
