"""The process that knows the machine it runs on: `python -m aima_gpu_manager`."""

import dataclasses

from aima_common.process import Workplace, alone, serve
from aima_gpu_manager.domain import Inventory
from aima_gpu_manager.inventory import read_inventory, site_of
from aima_gpu_manager.service import GpuManager


def main() -> None:
    """Run until told to stop."""
    serve("gpu_manager", alone(_service), reads=site_of)


def _service(place: Workplace) -> GpuManager:
    site = site_of(place.environment)

    def look() -> Inventory:
        # In a container the host's name is the pod's; jobs are placed on the machine as its operator calls it.
        return dataclasses.replace(read_inventory(), machine=place.machine, **site)

    return GpuManager(place.ports, look)


if __name__ == "__main__":
    main()
