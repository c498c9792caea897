import resource
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from aima_common.adapters.s3.scratch import Scratch, private_file
from aima_common.errors import StorageFullError, UnavailableError

HOLDS_A_COPY = """
import sys
from pathlib import Path
from aima_common.adapters.s3.scratch import Scratch, private_file
with Scratch(Path(sys.argv[1])) as scratch:
    with private_file(scratch.path()) as file:
        file.write(b"lent")
    print("lent", flush=True)
    sys.stdin.read()
"""


def files(folder: Path) -> list[bytes]:
    return sorted(path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != "lock")


def test_copies_of_a_dead_process_go_and_those_of_a_living_one_stay(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDS_A_COPY, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "lent\n"
        with Scratch(tmp_path):
            assert files(tmp_path) == [b"lent"], "its owner lives"
        holder.kill()
    assert files(tmp_path) == [b"lent"], "nobody could remove it"
    with Scratch(tmp_path):
        assert files(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_those_who_open_at_the_same_moment_leave_each_others_folders_alone(tmp_path: Path) -> None:
    def open_and_write(number: int) -> list[bytes]:
        with Scratch(tmp_path) as scratch:
            path = scratch.path()
            with private_file(path) as file:
                file.write(b"%d" % number)
            return [path.read_bytes()]

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(open_and_write, range(800))) == [[b"%d" % number] for number in range(800)]
    assert list(tmp_path.iterdir()) == []


def test_other_folders_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").write_bytes(b"mine")
    with Scratch(tmp_path):
        pass
    assert files(tmp_path) == [b"mine"]


def test_nobody_else_may_read_a_copy(tmp_path: Path) -> None:
    with Scratch(tmp_path / "made" / "here") as scratch:
        path = scratch.path()
        with private_file(path) as file:
            file.write(b"lent")
        assert path.stat().st_mode & 0o077 == 0
        assert path.parent.stat().st_mode & 0o077 == 0


def test_a_copy_that_finds_no_room_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Scratch(tmp_path) as scratch:
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
            with pytest.raises(StorageFullError, match="AIMA_SCRATCH"), private_file(scratch.path()) as file:
                file.writelines([b"x" * 1000, b"x" * 1000])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert files(tmp_path) == []


def test_a_scratch_folder_that_cannot_be_made_names_its_setting(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UnavailableError, match="AIMA_SCRATCH"), Scratch(tmp_path / "file" / "folder"):
        pytest.fail("opened")
