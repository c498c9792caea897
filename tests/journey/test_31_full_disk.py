"""A disk that fills up: nothing accepted is lost, the answer says what to do, and it goes on when there is room."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from aima_client.errors import BusyError, FullError, ProblemError
from tests.journey import full_disk_attempt
from tests.journey.aima_process import RunningAima, files_below
from tests.journey.bad_input import large_photo
from tests.unit.aima_preprocessing.made_media import photo, still

ROUNDS = 16
STEP_BYTES = 9001
IN_MEMORY = Path("/dev/shm")


@pytest.mark.parametrize("store", full_disk_attempt.STORES)
def test_a_store_keeps_all_it_acknowledged_and_no_half_wherever_a_write_fails(store: str, tmp_path: Path) -> None:
    # In memory, since a thousand commits wait for the disk; what is looked at is where they fail.
    place = IN_MEMORY if IN_MEMORY.is_dir() else tmp_path
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd()), "TMPDIR": str(place)}
    command = [sys.executable, full_disk_attempt.__file__, store]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    outcomes = json.loads(done.stdout)
    assert len(outcomes) == full_disk_attempt.STEPS
    assert outcomes[0] == [0, full_disk_attempt.WRITES], "the control: without room nothing is accepted"
    assert outcomes[-1][0] > 0, "the other control: with room it is"


def leave_room(house: RunningAima, size: int) -> None:
    """Let no file of AIMA and its children grow beyond `size`."""
    for process in house.tree():
        try:
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
        except (psutil.NoSuchProcess, ProcessLookupError):
            continue
        except PermissionError:
            # Decoders may write no file at all, and nobody may allow them to.
            if process.pid == house.process.pid:
                raise


async def test_accepted_is_kept_refused_is_told_and_all_goes_on_when_there_is_room(
    house: RunningAima, tmp_path: Path
) -> None:
    answers: list[ProblemError | None] = []
    # An upload that broke off on the full disk could not let go of its lease: whoever comes again is asked to wait.
    async with house.client() as client, house.client(attempts=6) as patient:
        case = await client.create_case("a full disk")
        for number in range(ROUNDS):
            path = tmp_path / f"{number}.png"
            path.write_bytes(still(photo(200, 150, seed=500 + number)))
            leave_room(house, largest(house.data) + number * STEP_BYTES)
            try:
                await client.upload(case["id"], path)
            except (FullError, BusyError) as problem:
                answers.append(problem)
            else:
                answers.append(None)
            leave_room(house, resource.RLIM_INFINITY)
            await patient.upload(case["id"], path)
        told = [answer for answer in answers if answer]
        assert told, "the control: the disk was full now and then"
        assert None in answers, "the other control: and now and then it was not"
        for answer in told:
            assert answer.status in {503, 507}
            assert answer.remedy
            assert answer.status == 503 or "Free space" in answer.remedy
        shown = await client.wait(case["id"])
        assert shown["counts"]["items"] == shown["counts"]["analysed"] == ROUNDS, "each once, and none lost"
        assert len((await client.dossier(case["id"]))["media"]) == ROUNDS


async def test_a_file_that_does_not_fit_is_refused_whole_while_others_are_being_analysed(
    house: RunningAima, tmp_path: Path
) -> None:
    path = tmp_path / "large.png"
    path.write_bytes(large_photo())
    small = tmp_path / "small.png"
    small.write_bytes(still(photo(seed=600)))
    async with house.client() as client:
        case = await client.create_case("too large for the disk")
        leave_room(house, max(largest(house.data), 4 << 20) + (1 << 20))
        assert path.stat().st_size > 5 << 20
        with pytest.raises(FullError) as full:
            await client.upload(case["id"], path)
        assert full.value.status == 507
        assert "Free space" in full.value.remedy
        assert files_below(house.data / "objects/uploads") == []
        await client.upload(case["id"], small)
        shown = await client.wait(case["id"])
        assert shown["counts"]["analysed"] == shown["counts"]["items"] == 1
        leave_room(house, resource.RLIM_INFINITY)
        await client.upload(case["id"], path)
        shown = await client.wait(case["id"])
        assert shown["counts"]["analysed"] == shown["counts"]["items"] == 2
        assert (await client.ready())["ready"]
    assert house.process.poll() is None


def largest(folder: Path) -> int:
    """Tell the size of the largest file of the stores, which is the one that grows."""
    return max(path.stat().st_size for path in folder.iterdir() if path.is_file())
