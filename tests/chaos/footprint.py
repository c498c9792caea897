"""What a process takes up now: memory, descriptors, children, and files in its scratch folder (I13)."""

from pathlib import Path

import psutil

from aima_monitoring.invariants import Footprint


def footprint(process: int, scratch: Path | None = None) -> Footprint:
    """Look at a running process and everything it started; raise `psutil.NoSuchProcess` when it has ended.

    Memory is that of the whole family, as what a child holds is held because of its parent.
    """
    parent = psutil.Process(process)
    children = parent.children(recursive=True)
    resident = parent.memory_info().rss
    for child in children:
        try:
            resident += child.memory_info().rss
        except psutil.NoSuchProcess:
            # Ended while it was looked at: it takes up nothing.
            continue
    return Footprint(
        rss_bytes=resident,
        descriptors=parent.num_fds(),
        children=len(children),
        scratch_files=_files(scratch) if scratch else 0,
    )


def _files(folder: Path) -> int:
    return sum(path.is_file() for path in folder.rglob("*")) if folder.is_dir() else 0
