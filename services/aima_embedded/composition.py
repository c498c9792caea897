"""The composition root of `aima up`: which services there are, in the order of the path, and what each is given."""

import contextlib
import os
import secrets
import socket
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

from aima_analysis.analyzers import chosen
from aima_analysis.analyzers.description import describe
from aima_analysis.inference_pool import InferencePool
from aima_analysis.service import AnalysisService
from aima_common import wiring
from aima_common.jobs import Leadership, Ledger
from aima_common.ports import Ports
from aima_common.runtime import Service
from aima_dossier.service import DossierService
from aima_fusion.service import Fusion
from aima_gateway.keys import Role
from aima_gateway.service import Gateway
from aima_gateway.settings import Settings as GatewaySettings
from aima_gpu_manager.service import GpuManager
from aima_models.store import ModelStore
from aima_monitoring.service import Monitoring
from aima_preprocessing.decoder_client import DecoderClient
from aima_preprocessing.service import Preprocessing
from aima_scheduler.deciders.engine import Settings as Rules
from aima_scheduler.service import Scheduler
from aima_storage.service import Storage
from aima_upload.service import Upload
from aima_upload.settings import Settings as UploadSettings

DEFAULT_TENANT = "default"
"""Whose data it is on one machine (model.md, "Things")."""


@dataclass(frozen=True)
class Options:
    """What somebody who starts AIMA on one machine may choose."""

    data: Path
    host: str = "127.0.0.1"
    port: int = 0
    analyzers: str | None = None
    """Comma-separated names; None means all that are on by default."""
    rules: Rules | None = None
    """By which jobs are placed; None means the usual ones."""
    unsandboxed: bool = False
    """Whether media are decoded where the kernel lacks what the sandbox is made of."""


@dataclass(frozen=True)
class House:
    """Everything that runs, ready to be run."""

    ports: Ports
    services: tuple[Service, ...]
    gateway: Gateway
    ledger: Ledger
    key: str
    """A key of the default tenant that may do everything."""


@contextlib.asynccontextmanager
async def build(options: Options) -> AsyncIterator[House]:
    """Plug everything together on one data folder; raise `SettingsError` when it is in use."""
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(wiring.exclusive(options.data))
        ports = await stack.enter_async_context(wiring.embedded(options.data))
        machine = socket.gethostname()
        ledger = Ledger(ports, f"{machine}-{os.getpid()}-{uuid.uuid4().hex[:8]}")
        # The lock says that whoever held jobs before is dead: nobody need wait for those leases.
        await ledger.inherit()
        await Leadership.inherit(ports.documents)
        slots = len(os.sched_getaffinity(0))
        pool = await stack.enter_async_context(InferencePool(batch_processes=slots))
        decoder = DecoderClient(unsandboxed=options.unsandboxed)
        await decoder.start()
        stack.push_async_callback(decoder.close)
        secret = secrets.token_urlsafe(32)
        store = ModelStore()
        descriptions = [describe(analyzer, store) for analyzer in chosen(options.analyzers)]
        upload = Upload(ports, UploadSettings(secret=secret))
        scheduler = Scheduler(ports, ledger, rules=options.rules)

        async def upload_urls() -> tuple[str, ...]:
            return (await upload.url(),)

        async def sandbox_check() -> str:
            missing = decoder.refuses_media
            return f"media wait: this machine lacks {missing}" if missing else "ok"

        gateway = Gateway(
            ports,
            GatewaySettings(secret=secret, host=options.host, port=options.port),
            upload_urls=upload_urls,
            embed_text=pool.embed_text,
            explain_job=scheduler.explain,
            show_queue=scheduler.queue,
            checks={"sandbox": sandbox_check},
        )
        services: tuple[Service, ...] = (
            gateway,
            upload,
            Preprocessing(ports, ledger, decoder, slots=slots),
            scheduler,
            GpuManager(ports),
            AnalysisService(ports, ledger, pool, descriptions, machine=machine, slots=slots),
            Fusion(ports, ledger),
            DossierService(ports, ledger),
            Storage(ports),
            Monitoring(ports),
        )
        key = await _key(options.data / "key", gateway)
        yield House(ports, services, gateway, ledger, key)


async def _key(path: Path, gateway: Gateway) -> str:
    """Give the machine owner's key, made at the first start and kept beside the data for its owner alone."""
    with contextlib.suppress(FileNotFoundError):
        token = path.read_text().strip()
        if await gateway.keys.actor(token):
            return token
    token = (await gateway.keys.issue(DEFAULT_TENANT, Role.operator, "made at the first start"))[0].text
    _write_private(path, token)
    return token


def _write_private(path: Path, text: str, opener: Callable[..., int] = os.open) -> None:
    descriptor = opener(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
