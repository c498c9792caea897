"""The sockets: six small promises that services rely on, whatever is plugged in.

Each promise is stated once more, executably, in `tests/contract`.
"""

from dataclasses import dataclass

from aima_common.ports.bus import Bus
from aima_common.ports.clock import Clock
from aima_common.ports.documents import Documents
from aima_common.ports.objects import Objects
from aima_common.ports.search import Search
from aima_common.ports.vectors import Vectors


@dataclass(frozen=True)
class Ports:
    """The bundle that a service is handed by its composition root."""

    bus: Bus
    documents: Documents
    objects: Objects
    vectors: Vectors
    search: Search
    clock: Clock
