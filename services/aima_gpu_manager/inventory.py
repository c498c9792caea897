"""Reads this machine: cores and memory within our limits, GPUs through NVML where there is a driver."""

import contextlib
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
import pynvml

from aima_common import settings
from aima_gpu_manager.domain import Gpu, Inventory

MOST_COST = 1e6
"""No machine costs more in an hour, whatever the unit is."""

CGROUP_MEMORY = Path("/sys/fs/cgroup/memory.max")


def read_inventory() -> Inventory:
    """Tell what this machine offers to this process: a container's limits count, not the host's size."""
    return Inventory(
        machine=socket.gethostname(),
        cpus=float(len(os.sched_getaffinity(0))),
        memory_bytes=min(psutil.virtual_memory().total, _memory_limit()),
        gpus=tuple(_gpus()),
    )


def site_of(environment: Mapping[str, str]) -> dict[str, Any]:
    """Read where this machine is and what it costs, as its operator says; raise `SettingsError`."""
    return {
        "location": settings.place(environment, "AIMA_LOCATION"),
        "cost_per_hour": settings.decimal(environment, "AIMA_COST_PER_HOUR", 0.0, least=0.0, most=MOST_COST),
    }


def utilisation() -> dict[str, float]:
    """Tell the share of cores and memory in use, 0 to 1."""
    return {"cpu": psutil.cpu_percent() / 100, "memory": psutil.virtual_memory().percent / 100}


def _memory_limit() -> int:
    with contextlib.suppress(OSError, ValueError):
        return int(CGROUP_MEMORY.read_text())
    return 1 << 62


def _gpus() -> list[Gpu]:
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        handles = [(index, pynvml.nvmlDeviceGetHandleByIndex(index)) for index in range(pynvml.nvmlDeviceGetCount())]
        return [
            Gpu(
                index,
                str(pynvml.nvmlDeviceGetName(handle)),
                int(pynvml.nvmlDeviceGetMemoryInfo(handle).total),
                str(pynvml.nvmlDeviceGetUUID(handle)),
            )
            for index, handle in handles
        ]
    finally:
        pynvml.nvmlShutdown()
