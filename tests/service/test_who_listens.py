"""The spine and the services say the same about who listens to what."""

from pathlib import Path
from typing import Any

from aima_analysis.service import AnalysisService
from aima_common.contracts import messages as m
from aima_common.contracts.topics import BY_MESSAGE, TOPICS, heard_by
from aima_dossier.service import DossierService
from aima_fusion.service import Fusion
from aima_gateway.service import Gateway
from aima_gateway.settings import Settings as GatewaySettings
from aima_gpu_manager.service import GpuManager
from aima_monitoring.service import Monitoring
from aima_preprocessing.service import Preprocessing
from aima_scheduler.service import Scheduler
from aima_storage.service import Storage
from aima_upload.service import Upload
from aima_upload.settings import Settings as UploadSettings
from tests.service.pretended import PretendedDecoder, PretendedInference
from tests.service.stage import Stage, staged


def services(stage: Stage) -> list[Any]:
    ports, ledger = stage.ports, stage.ledger
    return [
        Gateway(ports, GatewaySettings(secret="s")),
        Upload(ports, UploadSettings(secret="s")),
        Preprocessing(ports, ledger, PretendedDecoder(), slots=1),
        Scheduler(ports, ledger),
        GpuManager(ports),
        AnalysisService(ports, ledger, PretendedInference(), [], machine="here", slots=1),
        Fusion(ports, ledger),
        DossierService(ports, ledger),
        Storage(ports),
        Monitoring(ports),
    ]


async def test_every_service_handles_exactly_what_the_spine_says_it_hears(tmp_path: Path) -> None:
    """Else its group would lag for ever behind a topic that it does not read, or read what nobody knows of."""
    async with staged(tmp_path) as stage:
        for service in services(stage):
            handled = {BY_MESSAGE[message].name for message in service.handlers()}
            assert handled == {topic.name for topic in heard_by(service.name)}, service.name


def test_everything_that_is_said_is_heard_by_somebody() -> None:
    assert [topic.name for topic in TOPICS if not topic.consumers] == []
    assert set(BY_MESSAGE) == set(m.PATH)
