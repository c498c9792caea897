"""Which files are meant by the paths that somebody gave, and what is wrong with the others."""

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Refusal:
    """A path that cannot be sent: what, why, and what to do."""

    path: str
    reason: str
    remedy: str


@dataclass
class Inputs:
    """What was found."""

    files: list[Path] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)

    @property
    def total_bytes(self) -> int:
        """Sizes of all files together."""
        return sum(_size(path) for path in self.files)


def collect(paths: Iterable[Path], leave_out: Iterable[Path] = ()) -> Inputs:
    """Find the files of files and folders, each once, in the order of their names.

    Hidden files, what is not a file, and what `leave_out` names (AIMA's own folders and results) are
    left out of folders; a path that was named and cannot be sent is a refusal, and so is a folder
    without files. The others go on.
    """
    found = Inputs()
    seen: set[Path] = set()
    ours = frozenset(path.resolve() for path in leave_out)
    for path in paths:
        for file in _files(path, found.refused, ours):
            place = Path(os.path.abspath(file))  # noqa: PTH100 - a link stays the link that was named
            if place not in seen:
                seen.add(place)
                found.files.append(file)
    return found


def _files(path: Path, refused: list[Refusal], ours: frozenset[Path]) -> Iterator[Path]:
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        refused.append(Refusal(shown(path), "there is no such file or folder", "Check the path."))
        return
    except (OSError, ValueError) as error:
        refused.append(Refusal(shown(path), _why(error), "Check the path and its permissions."))
        return
    if stat.S_ISDIR(mode):
        yield from _in_folder(path, refused, ours)
    elif not stat.S_ISREG(mode):
        refused.append(Refusal(shown(path), "it is neither a file nor a folder", "Name files or folders of media."))
    elif (refusal := unreadable(path)) is not None:
        refused.append(refusal)
    else:
        yield path


def _in_folder(folder: Path, refused: list[Refusal], ours: frozenset[Path]) -> Iterator[Path]:
    count = 0
    before = len(refused)

    def failed(error: OSError) -> None:
        name = Path(str(error.filename or folder))
        refused.append(Refusal(shown(name), _why(error), "Allow reading it, for instance with chmod."))

    for root, folders, names in os.walk(folder, onerror=failed):
        place = Path(root).resolve()
        folders[:] = sorted(name for name in folders if not name.startswith(".") and place / name not in ours)
        for name in sorted(names):
            path = Path(root) / name
            if name.startswith(".") or place / name in ours or not path.is_file():
                continue
            count += 1
            if (refusal := unreadable(path)) is not None:
                refused.append(refusal)
            else:
                yield path
    if count == 0 and len(refused) == before:
        refused.append(Refusal(shown(folder), "the folder holds no files", "Name a folder with media in it."))


def unreadable(path: Path) -> Refusal | None:
    """Say what is wrong with a file, or None when it can be read."""
    try:
        with path.open("rb"):
            return None
    except OSError as error:
        return Refusal(shown(path), _why(error), "Allow reading it, for instance with chmod u+r.")


def shown(path: Path) -> str:
    """Write a path so that no character of it can confuse a terminal or its reader."""
    text = os.fsencode(path).decode("utf-8", "replace")
    return "".join(character if character.isprintable() else f"\\u{ord(character):04x}" for character in text)


def _why(error: OSError | ValueError) -> str:
    if isinstance(error, PermissionError):
        return "you may not read it"
    return (error.strerror or str(error)).lower() if isinstance(error, OSError) else str(error)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
