"""What a machine is, and when a new look at it is news. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Gpu:
    """A GPU as its driver describes it; memory in bytes."""

    index: int
    name: str
    memory_bytes: int
    uuid: str


@dataclass(frozen=True)
class Inventory:
    """A machine's capacity: cores that this process may use, bytes of memory, GPUs."""

    machine: str
    cpus: float
    memory_bytes: int
    gpus: Sequence[Gpu] = ()
    location: str = "local"
    """Where it is; what is not public is done on local machines only (spec 4.3)."""
    cost_per_hour: float = 0.0
    """What it costs, in the operator's unit."""

    def body(self) -> dict[str, Any]:
        """Lay it out for the machine's document."""
        return {
            "cpus": self.cpus,
            "memory_bytes": self.memory_bytes,
            "gpus": [asdict(gpu) for gpu in self.gpus],
            "location": self.location,
            "cost_per_hour": self.cost_per_hour,
        }


def is_news(known: Mapping[str, Any] | None, seen: Inventory) -> bool:
    """Tell whether capacity changed since it was last told."""
    return known is None or any(known.get(name) != value for name, value in seen.body().items())
