"""Where running instances of AIMA are found: one small file each in the user's state folder.

The file holds a key, so only its owner may read it (mode 0600 in a folder of mode 0700).
"""

import contextlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Instance:
    """A running AIMA: where it listens, a key that it accepts, and the folder it works in."""

    url: str
    key: str
    pid: int
    data: str
    """Absolute path of the data folder."""


def folder() -> Path:
    """Tell where the files lie: `AIMA_STATE` if set, else the user's state folder (XDG)."""
    chosen = os.environ.get("AIMA_STATE")
    if chosen:
        return Path(chosen)
    home = os.environ.get("XDG_STATE_HOME")
    return (Path(home) if home else Path.home() / ".local" / "state") / "aima"


def publish(instance: Instance, where: Path | None = None) -> Path:
    """Make an instance findable; the file is never seen half written nor by anybody else."""
    place = where or folder()
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = _path(place, instance.pid)
    draft = path.with_suffix(".draft")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(asdict(instance), file)
    draft.replace(path)
    return path


def withdraw(pid: int, where: Path | None = None) -> None:
    """Remove an instance's file; nothing happens when there is none, or the folder is not to be written to."""
    # What is left behind names a process that has ended: whoever reads it sees that.
    with contextlib.suppress(OSError):
        _path(where or folder(), pid).unlink(missing_ok=True)


def running(where: Path | None = None) -> list[Instance]:
    """List the instances whose processes live, newest first; files of dead ones are removed."""
    place = where or folder()
    found: list[tuple[float, Instance]] = []
    for path in place.glob("instance-*.json"):
        try:
            instance = Instance(**json.loads(path.read_text(encoding="utf-8")))
            modified = path.stat().st_mtime
        except (OSError, ValueError, TypeError):
            continue
        if _alive(instance.pid):
            found.append((modified, instance))
        else:
            path.unlink(missing_ok=True)
    return [instance for _, instance in sorted(found, key=lambda pair: pair[0], reverse=True)]


def locate(data: Path | None = None, where: Path | None = None) -> Instance | None:
    """Find the newest running instance, or the one that works in the folder `data`."""
    for instance in running(where):
        if data is None or Path(instance.data).resolve() == data.resolve():
            return instance
    return None


def _path(place: Path, pid: int) -> Path:
    return place / f"instance-{pid}.json"


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
