"""What the pool of inference processes promises, with real processes that go wrong in every way."""

import asyncio
import dataclasses
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from aima_analysis.analyzers.analyzer import Analysis
from aima_analysis.inference_child import InferenceSettings, command
from aima_analysis.inference_pool import InferencePool
from aima_analysis.inference_protocol import Message, receive, send
from aima_common.contracts.media import MediumType
from aima_common.errors import PermanentError, TransientError, UnavailableError

SETTINGS = InferenceSettings(registry="hostile_analyzers", watch_seconds=0.05)
LONG = 60.0
SHORT = 0.3


@pytest.fixture(autouse=True)
def _hostile_analyzers_can_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))


@pytest.fixture
async def pool() -> AsyncIterator[InferencePool]:
    async with InferencePool(1, SETTINGS) as pool:
        yield pool


async def ask(
    pool: InferencePool,
    analyzer: str,
    picture: bytes = b"picture",
    deadline: float = LONG,
    *,
    interactive: bool = False,
) -> str:
    analysis: Analysis = await pool.analyse(
        analyzer, MediumType.IMAGE, None, [picture], deadline, interactive=interactive
    )
    return analysis.findings[0].label or ""


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.01)


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def test_an_analyzer_answers_from_another_process_and_its_calls_are_counted(pool: InferencePool) -> None:
    assert await ask(pool, "echo", b"12345") == "5 bytes"
    assert await ask(pool, "echo", b"123") == "3 bytes"
    assert pool.calls == {"echo": 2}
    assert [child.pid for child in pool.processes] != [os.getpid()]
    assert len(pool.processes) == 1


async def test_a_process_that_is_killed_is_reported_and_replaced(pool: InferencePool) -> None:
    call = asyncio.create_task(ask(pool, "hangs"))
    await until(lambda: len(pool.processes) == 1)
    killed = pool.processes[0].pid
    os.kill(killed, signal.SIGKILL)
    with pytest.raises(TransientError, match=r"was killed by SIGKILL while running analyzer 'hangs'") as caught:
        await call
    assert caught.value.code == "inference_died"
    assert await ask(pool, "echo", b"12") == "2 bytes"
    assert pool.processes[0].pid != killed


async def test_a_native_crash_is_reported_with_its_last_words(pool: InferencePool) -> None:
    with pytest.raises(TransientError, match=r"SIGABRT while running analyzer 'crashes': .*a native library gives up"):
        await ask(pool, "crashes")
    assert await ask(pool, "echo", b"12") == "2 bytes"


async def test_a_call_beyond_its_deadline_is_stopped_for_good(pool: InferencePool) -> None:
    call = asyncio.create_task(ask(pool, "hangs", deadline=SHORT))
    await until(lambda: len(pool.processes) == 1)
    hung = pool.processes[0].pid
    with pytest.raises(TransientError, match=r"took longer than 0\.3 s") as caught:
        await call
    assert caught.value.code == "deadline_exceeded"
    assert not running(hung)
    assert await ask(pool, "echo", b"12") == "2 bytes"


async def test_a_cancelled_call_leaves_nothing_running(pool: InferencePool) -> None:
    call = asyncio.create_task(ask(pool, "hangs"))
    await until(lambda: len(pool.processes) == 1)
    working = pool.processes[0].pid
    assert running(working)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert not running(working)
    assert await ask(pool, "echo", b"12") == "2 bytes"


async def test_memory_beyond_the_limit_ends_the_job_and_below_it_does_not() -> None:
    settings = dataclasses.replace(SETTINGS, memory_limit_bytes=300 * 2**20)
    async with InferencePool(1, settings) as pool:
        assert await ask(pool, "fills", b"50") == "50"
        with pytest.raises(TransientError, match="the limit is 300 MiB") as caught:
            await ask(pool, "fills", b"400")
        assert caught.value.code == "out_of_memory"
        assert await ask(pool, "echo", b"12") == "2 bytes"


async def test_a_refused_allocation_is_out_of_memory_and_the_process_is_replaced(pool: InferencePool) -> None:
    await ask(pool, "echo")
    before = pool.processes[0].pid
    with pytest.raises(TransientError, match="MemoryError") as caught:
        await ask(pool, "starves")
    assert caught.value.code == "out_of_memory"
    assert not running(before)
    assert await ask(pool, "echo", b"12") == "2 bytes"


async def test_a_process_that_stays_too_large_is_replaced_after_its_job() -> None:
    async with InferencePool(1, dataclasses.replace(SETTINGS, memory_kept_bytes=1)) as pool:
        first = (await ask(pool, "names")).split()[0]
        second = (await ask(pool, "names")).split()[0]
    assert first != second


async def test_an_unforeseen_error_is_transient_and_keeps_the_process(pool: InferencePool) -> None:
    with pytest.raises(TransientError, match="ZeroDivisionError: of all things") as caught:
        await ask(pool, "raises")
    assert caught.value.code == "unknown"
    pid = pool.processes[0].pid
    await ask(pool, "echo")
    assert [child.pid for child in pool.processes] == [pid]


async def test_a_permanent_error_keeps_its_code_and_its_remedy(pool: InferencePool) -> None:
    with pytest.raises(PermanentError, match="not this picture") as caught:
        await ask(pool, "refuses")
    assert (caught.value.code, caught.value.remedy) == ("not_this", "take another")


async def test_an_unknown_analyzer_is_a_permanent_error(pool: InferencePool) -> None:
    with pytest.raises(PermanentError) as caught:
        await ask(pool, "nobody")
    assert caught.value.code == "analyzer_unknown"


async def test_what_libraries_print_does_not_disturb_the_answers(pool: InferencePool) -> None:
    assert await ask(pool, "talks") == "done"
    assert await ask(pool, "talks") == "done"


async def test_batch_work_runs_on_as_many_processes_as_allowed() -> None:
    async with InferencePool(2, SETTINGS) as pool:
        answers = await asyncio.gather(*(ask(pool, "names") for _ in range(6)))
    assert len({answer.split()[0] for answer in answers}) == 2


async def test_interactive_work_does_not_wait_for_batch_work_which_is_nicer() -> None:
    async with InferencePool(1, SETTINGS) as pool:
        nice = int((await ask(pool, "names")).split()[1])
        batch = asyncio.create_task(ask(pool, "hangs"))
        await until(lambda: pool.calls["hangs"] == 1)
        assert int((await ask(pool, "names", interactive=True)).split()[1]) < nice
        assert not batch.done()
        batch.cancel()
        await asyncio.gather(batch, return_exceptions=True)


async def test_one_photo_is_looked_at_in_one_process_and_many_take_what_is_free() -> None:
    async with InferencePool(2, SETTINGS) as pool:
        photo = await asyncio.gather(*(ask(pool, "names", interactive=True) for _ in range(3)))
        assert len({answer.split()[0] for answer in photo}) == 1
        many = await asyncio.gather(*(ask(pool, "names", interactive=True) for _ in range(9)))
        assert len({answer.split()[0] for answer in many}) == 3


async def test_idle_processes_end_and_come_back() -> None:
    async with InferencePool(1, dataclasses.replace(SETTINGS, stop_seconds=0.05)) as pool:
        pid = int((await ask(pool, "names")).split()[0])
        await until(lambda: not pool.processes and not running(pid))
        assert await ask(pool, "echo", b"12") == "2 bytes"


async def test_models_are_dropped_in_silence_and_the_process_goes_on() -> None:
    async with InferencePool(1, dataclasses.replace(SETTINGS, unload_seconds=0.05)) as pool:
        pid = (await ask(pool, "names")).split()[0]
        await asyncio.sleep(0.3)
        assert (await ask(pool, "names")).split()[0] == pid


async def test_closing_ends_every_process_and_refuses_more_work() -> None:
    pool = InferencePool(1, SETTINGS)
    calls = [asyncio.create_task(ask(pool, "hangs", interactive=way)) for way in (False, True)]
    await until(lambda: pool.calls["hangs"] == 2)
    pids = [child.pid for child in pool.processes]
    await pool.close()
    assert [type(error) for error in await asyncio.gather(*calls, return_exceptions=True)] == [TransientError] * 2
    assert not any(running(pid) for pid in pids)
    with pytest.raises(UnavailableError):
        await ask(pool, "echo")
    await pool.close()


def start_child() -> tuple[subprocess.Popen[bytes], socket.socket]:
    ours, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(command(SETTINGS, theirs.fileno(), 0), pass_fds=[theirs.fileno()])
    return process, ours


def test_a_process_ends_when_the_other_side_closes() -> None:
    process, ours = start_child()
    with process, ours:
        send(
            ours,
            Message({"id": 1, "operation": "analyse", "analyzer": "echo", "type": "image", "segment": None}, [b"1"]),
        )
        answer = receive(ours)
        assert answer is not None
        assert answer.header["id"] == 1
        ours.close()
        assert process.wait() == 0


def test_a_process_ends_when_what_it_hears_is_no_message() -> None:
    process, ours = start_child()
    with process, ours:
        ours.sendall(b"\xff" * 100)
        assert process.wait() == 1


PARENT = """
import asyncio
from aima_analysis.inference_child import InferenceSettings
from aima_analysis.inference_pool import InferencePool
from aima_common.contracts.media import MediumType

async def main():
    pool = InferencePool(1, InferenceSettings(registry="hostile_analyzers"))
    call = asyncio.create_task(pool.analyse("hangs", MediumType.IMAGE, None, [b""], 3600))
    while not pool.calls["hangs"]:
        await asyncio.sleep(0.01)
    print(pool.processes[0].pid, flush=True)
    await call

asyncio.run(main())
"""


async def test_processes_die_with_their_parent_even_in_the_middle_of_a_job() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert running(child)
        parent.kill()
        await until(lambda: not running(child))
