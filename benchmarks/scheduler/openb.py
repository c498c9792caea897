"""The GPU cluster trace "openb" (Alibaba, Apache License 2.0), and the workloads that FGD's artefact makes of it.

The data are not part of AIMA: they lie in `data/csv` of hkust-adsl/kubernetes-scheduler-simulator, as published with
"Beware of Fragmentation" (Weng et al., USENIX ATC'23).
"""

import csv
import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from aima_scheduler.deciders.model import Gpu, Machine, Shape

NODES = "openb_node_list_gpu_node.csv"
PODS = "openb_pod_list_{}.csv"
ARRIVES = 1.3
"""So much is asked for of what there is, by the end (the artefact's tuning ratio)."""

PUBLISHED_FGD = {
    "cpu050": (95.00, 95.21), "cpu100": (95.21, 95.35), "cpu200": (94.82, 95.05), "cpu250": (93.20, 93.41),
    "default": (95.23, 95.39), "gpushare40": (93.96, 94.15), "gpushare60": (91.25, 91.40),
    "gpushare80": (89.08, 89.30), "gpushare100": (86.64, 86.90), "gpuspec10": (94.66, 94.95),
    "gpuspec20": (94.66, 94.84), "gpuspec25": (93.91, 94.74), "gpuspec33": (87.84, 94.55),
    "multigpu20": (95.53, 95.65), "multigpu30": (96.36, 96.46), "multigpu40": (96.91, 96.99),
    "multigpu50": (97.09, 97.18),
}  # fmt: skip
"""GPUs allocated in per cent at 100 and at 130 % arrived: means of ten seeds, from the artefact's results."""


class NoTraceError(Exception):
    """There is no trace where it was said to be."""


def traces(folder: Path) -> list[str]:
    """Name the traces in a folder; raise `NoTraceError` where there is none, or no list of machines."""
    before, behind = PODS.split("{}")
    found = sorted(path.name[len(before) : -len(behind)] for path in folder.glob(PODS.format("*")))
    if not found or not (folder / NODES).is_file():
        wanted = f"{NODES} and files {PODS.format('NAME')}"
        raise NoTraceError(
            f"{folder} does not hold {wanted}; they are in data/csv of hkust-adsl/kubernetes-scheduler-simulator: "
            "get them, and say with --data where they are"
        )
    return found


def machines(folder: Path) -> list[Machine]:
    """Read the machines, in their order; GPUs have no memory of their own in this trace."""
    return [
        Machine(row["sn"], int(row["cpu_milli"]), int(row["memory_mib"]), (Gpu(row["model"], 0),) * int(row["gpu"]))
        for row in _rows(folder / NODES)
    ]


def shapes(folder: Path, trace: str) -> list[Shape]:
    """Read what the pods of a trace ask for, in their order."""
    return [_shape(row) for row in _rows(folder / PODS.format(trace))]


def _shape(row: Mapping[str, str]) -> Shape:
    cpu, memory, gpus = int(row["cpu_milli"]), int(row["memory_mib"]), int(row["num_gpu"])
    if not gpus:
        return Shape(cpu, memory)
    # Some traces have no column for types of GPUs.
    types = tuple(sorted(name for name in (row.get("gpu_spec") or "").split("|") if name))
    return Shape(cpu, memory, gpus, int(row["gpu_milli"]), gpu_types=types)


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with path.open(newline="") as lines:
        yield from csv.DictReader(lines)


def gpu_milli(shape: Shape) -> int:
    """Tell how much of GPUs a shape asks for, in thousandths."""
    return shape.gpu_count * shape.gpu_milli


def arrivals(pods: Sequence[Shape], capacity: int, seed: int) -> list[Shape]:
    """Draw pods, or leave some out, until 130 % of the GPUs are asked for, and shuffle them."""
    chance = random.Random(seed)
    drawn = list(pods)
    wanted = sum(map(gpu_milli, drawn))
    if wanted <= 0:
        raise NoTraceError("nothing in this trace asks for a GPU")
    while wanted > ARRIVES * capacity:
        wanted -= gpu_milli(drawn.pop(chance.randrange(len(drawn))))
    while wanted + gpu_milli(pod := pods[chance.randrange(len(pods))]) <= ARRIVES * capacity:
        wanted += gpu_milli(pod)
        drawn.append(pod)
    chance.shuffle(drawn)
    return drawn
