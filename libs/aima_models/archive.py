"""Takes single members out of a package archive without unpacking it.

No path inside the archive is ever used to write a file, so none can lead out of a folder.
"""

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from aima_models.errors import DamagedArchiveError

LARGEST_MEMBER_BYTES = 256 * 1024 * 1024
"""More than twice the largest weights file of ours; a limit on what a damaged archive can unfold to."""


def read_members(path: Path, members: Sequence[str]) -> Mapping[str, bytes]:
    """Read members in the order asked for; raise DamagedArchiveError when one is absent, broken or too large."""
    try:
        with zipfile.ZipFile(path) as archive:
            return {member: _read(archive, member) for member in members}
    except KeyError as error:
        raise DamagedArchiveError(f"{path.name} has no member {error.args[0]}") from error
    except (zipfile.BadZipFile, EOFError, OSError) as error:
        raise DamagedArchiveError(f"{path.name} is not a readable archive: {error}") from error


def _read(archive: zipfile.ZipFile, member: str) -> bytes:
    size = archive.getinfo(member).file_size
    if size > LARGEST_MEMBER_BYTES:
        raise DamagedArchiveError(f"{member} is {size} bytes; the limit is {LARGEST_MEMBER_BYTES}")
    with archive.open(member) as stream:
        content = stream.read(size + 1)
    if len(content) != size:
        raise DamagedArchiveError(f"{member} is not as long as the archive says")
    return content
