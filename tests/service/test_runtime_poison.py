"""A record that kills its consumer: set aside unread after three deaths, and its partition goes on."""

import base64
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from aima_common.contracts import messages as m
from aima_common.contracts.telling import tell
from aima_common.ports.bus import Record
from aima_common.runtime.journal import DEATHS
from tests.service.poison_process import SERVICE, TOPIC
from tests.service.stage import NOW, TENANT, staged

PROCESS = Path(__file__).with_name("poison_process.py")
COUNT = 40


def record(medium: str) -> Record:
    return tell(m.MediumErased(medium=medium), tenant=TENANT, key=medium, cause="c", time=NOW)


async def publish(folder: Path) -> list[str]:
    media = [f"medium-{number}" for number in range(COUNT)]
    async with staged(folder) as stage:
        await stage.ports.bus.publish([record(medium) for medium in media])
    return media


def consume(folder: Path, poison: str, *options: str) -> int:
    """Consume in a process of its own until it ends; give its exit status."""
    command = [sys.executable, str(PROCESS), str(folder), poison, *options]
    return subprocess.run(command, timeout=60, check=False).returncode


@pytest.mark.parametrize("place", [0, 17], ids=["first", "among others"])
async def test_a_record_that_kills_is_set_aside_after_three_deaths_and_all_others_are_handled(
    tmp_path: Path, place: int
) -> None:
    media = await publish(tmp_path)
    poison = media[place]
    ends = [consume(tmp_path, poison) for _ in range(DEATHS)]
    assert ends == [-signal.SIGKILL] * DEATHS
    assert consume(tmp_path, poison) == 0
    async with staged(tmp_path) as stage:
        (letter,) = [letter.body for letter in await stage.all("dead_letters")]
        handled = {document.id for document in await stage.all("counters")}
        assert await stage.ports.bus.lag(SERVICE, [TOPIC]) == 0
    assert (letter["reason"], letter["key"], letter["topic"]) == ("kills_its_consumer", poison, TOPIC)
    assert base64.b64decode(letter["value"]) == record(poison).value
    assert handled == set(media) - {poison}


@pytest.mark.parametrize("place", range(2))
async def test_what_survived_is_not_blamed_for_the_next_death_though_its_commit_came_too_late(
    tmp_path: Path, place: int
) -> None:
    media = await publish(tmp_path)
    ends = [consume(tmp_path, media[place], "uncommitted") for _ in range(DEATHS)]
    assert ends == [-signal.SIGKILL] * DEATHS
    assert consume(tmp_path, media[place]) == 0
    async with staged(tmp_path) as stage:
        letters = [letter.body["key"] for letter in await stage.all("dead_letters")]
    assert letters == [media[place]]


async def test_without_what_was_written_down_it_kills_for_ever(tmp_path: Path) -> None:
    media = await publish(tmp_path)
    assert [consume(tmp_path, media[0], "forgetful") for _ in range(5)] == [-signal.SIGKILL] * 5
    async with staged(tmp_path) as stage:
        assert await stage.all("dead_letters") == []


async def test_two_records_that_kill_are_both_found_and_nobody_else_is_blamed(tmp_path: Path) -> None:
    media = await publish(tmp_path)
    async with staged(tmp_path) as stage:
        # The same key comes twice: two records, each of which has to show what it does.
        await stage.ports.bus.publish([record(media[5])])
    ends: list[int] = []
    while not ends or ends[-1] != 0:
        ends.append(consume(tmp_path, media[5]))
        assert len(ends) <= 2 * DEATHS + 1, "it dies for ever"
    async with staged(tmp_path) as stage:
        letters = [letter.body for letter in await stage.all("dead_letters")]
        handled = {document.id for document in await stage.all("counters")}
    assert [letter["key"] for letter in letters] == [media[5]] * 2
    assert len({letter["offset"] for letter in letters}) == 2
    assert handled == set(media) - {media[5]}


async def test_a_process_that_is_killed_from_outside_loses_no_record(tmp_path: Path) -> None:
    media = await publish(tmp_path)
    command = [sys.executable, str(PROCESS), str(tmp_path), "nobody", "slow"]
    for _ in range(6):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for _ in range(3):
                assert process.stdout.readline(), "it ended before it was killed"
            process.kill()
    assert consume(tmp_path, "nobody") == 0
    async with staged(tmp_path) as stage:
        assert await stage.all("dead_letters") == []
        assert {document.id for document in await stage.all("counters")} == set(media)
