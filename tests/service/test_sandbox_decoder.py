"""The decoder as the services meet it: a client, a server process, and a locked-up child for every medium."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from aima_common.contracts.media import MediumType
from aima_common.errors import TransientError, UnavailableError
from aima_preprocessing.decoder_client import DecoderClient, PreparationPlan
from aima_preprocessing.events import Event, Finished, Probed, SegmentDecoded
from aima_preprocessing.limits import Limits
from aima_preprocessing.refusals import MediumRefusedError, SandboxMissingError
from aima_preprocessing.sandbox import Layer
from aima_preprocessing.segmentation import MICROSECONDS, SegmentPlan
from tests.unit.aima_preprocessing.made_media import Recipe, enormous_png, film, photo, still, unfolding_gif

SHORT = SegmentPlan(
    core=4 * MICROSECONDS,
    shortest_remainder=MICROSECONDS,
    sound_context=MICROSECONDS,
    thumbnail_context=MICROSECONDS // 2,
)
PLAN = PreparationPlan(segments=SHORT)


@pytest.fixture
async def client() -> AsyncIterator[DecoderClient]:
    decoder = DecoderClient()
    await decoder.start()
    yield decoder
    await decoder.close()


@pytest.fixture(scope="module")
def long_film(tmp_path_factory: pytest.TempPathFactory) -> str:
    """More bytes of derivatives than a pipe holds, so that a decoder that nobody listens to has to wait."""
    path = tmp_path_factory.mktemp("media") / "long"
    recipe = Recipe("mp4", seconds=40, rate=4, width=640, height=480, options={"preset": "ultrafast"}, grain=True)
    path.write_bytes(film(recipe))
    return str(path)


@pytest.fixture
def picture(tmp_path: Path) -> str:
    path = tmp_path / "picture"
    path.write_bytes(still(photo()))
    return str(path)


async def events_of(client: DecoderClient, path: str, plan: PreparationPlan = PLAN, start: int = 0) -> list[Event]:
    async with contextlib.aclosing(client.prepare(path, plan, start)) as events:
        return [event async for event in events]


def children_of(client: DecoderClient) -> list[psutil.Process]:
    assert client.process is not None
    return psutil.Process(client.process).children(recursive=True)


async def until(holds: Callable[[], bool]) -> None:
    while not holds():
        await asyncio.sleep(0.01)


async def test_segments_arrive_one_by_one_and_then_the_whole(client: DecoderClient, long_film: str) -> None:
    events = await events_of(client, long_film)
    assert [type(event) for event in events] == [Probed] + [SegmentDecoded] * 10 + [Finished]
    segments = [event.segment for event in events if isinstance(event, SegmentDecoded)]
    assert [segment.index for segment in segments] == list(range(10))
    assert segments[-1].core_end == pytest.approx(40, abs=0.1)


async def test_a_segment_is_there_while_the_rest_is_still_to_be_decoded(client: DecoderClient, long_film: str) -> None:
    async with contextlib.aclosing(client.prepare(long_film, PLAN)) as events:
        async for event in events:
            if isinstance(event, SegmentDecoded):
                assert event.segment.index == 0
                assert children_of(client)
                break


async def test_work_can_be_taken_up_at_a_segment(client: DecoderClient, long_film: str) -> None:
    whole = await events_of(client, long_film)
    rest = await events_of(client, long_film, start=6)
    assert rest == [whole[0], *whole[7:]]


async def test_a_still_is_probed_and_finished(client: DecoderClient, picture: str) -> None:
    probed, finished = await events_of(client, picture)
    assert isinstance(probed, Probed)
    assert isinstance(finished, Finished)
    assert finished.probe.type is MediumType.IMAGE
    assert (finished.picture or b"").startswith(b"\xff\xd8")


async def test_a_descriptor_does_as_well_as_a_path_and_stays_open(client: DecoderClient, picture: str) -> None:
    descriptor = os.open(picture, os.O_RDONLY)
    async with contextlib.aclosing(client.prepare(descriptor, PLAN)) as events:
        assert [event async for event in events] == await events_of(client, picture)
    os.close(descriptor)


async def test_media_are_decoded_side_by_side(client: DecoderClient, long_film: str, picture: str) -> None:
    async with contextlib.aclosing(client.prepare(long_film, PLAN)) as events:
        await anext(events)
        assert len(await events_of(client, picture)) == 2
        assert len([event async for event in events]) == 11


async def test_a_decoder_waits_for_a_slow_reader(client: DecoderClient, long_film: str) -> None:
    async with contextlib.aclosing(client.prepare(long_film, PLAN)) as events:
        await anext(events)
        (child,) = children_of(client)
        used = -1.0
        while used < (now := child.cpu_times().user):
            used = now
            await asyncio.sleep(0.5)
        assert child.is_running()
        assert len([event async for event in events]) == 11


async def test_leaving_the_loop_ends_the_decoding(client: DecoderClient, long_film: str) -> None:
    async with contextlib.aclosing(client.prepare(long_film, PLAN)) as events:
        await anext(events)
        assert children_of(client)
    assert children_of(client) == []


async def test_cancelling_ends_the_decoding(client: DecoderClient, long_film: str) -> None:
    reading = asyncio.create_task(events_of(client, long_film))
    await until(lambda: bool(children_of(client)))
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert children_of(client) == []


async def test_a_child_killed_from_outside_is_nobodys_fault_and_the_next_try_succeeds(
    client: DecoderClient, long_film: str
) -> None:
    async def read_and_kill() -> None:
        async with contextlib.aclosing(client.prepare(long_film, PLAN)) as events:
            async for event in events:
                if isinstance(event, Probed):
                    children_of(client)[0].kill()

    with pytest.raises(TransientError) as caught:
        await read_and_kill()
    assert caught.value.code == "decoder_killed"
    assert len(await events_of(client, long_film)) == 12


async def test_a_crash_of_the_decoder_is_the_fault_of_the_file(client: DecoderClient, long_film: str) -> None:
    async def read_and_crash() -> None:
        async with contextlib.aclosing(client.prepare(long_film, PLAN)) as events:
            async for event in events:
                if isinstance(event, Probed):
                    children_of(client)[0].send_signal(signal.SIGSEGV)

    with pytest.raises(MediumRefusedError) as caught:
        await read_and_crash()
    assert caught.value.code == "decoder_crashed"
    assert "SIGSEGV" in caught.value.reason


async def test_a_child_that_hangs_is_killed_when_its_time_is_over(client: DecoderClient, long_film: str) -> None:
    impatient = replace(PLAN, limits=Limits(starting_seconds=0.5, wall_seconds_per_media_minute=1))

    async def read_and_stop() -> None:
        async with contextlib.aclosing(client.prepare(long_film, impatient)) as events:
            async for event in events:
                if isinstance(event, Probed):
                    children_of(client)[0].suspend()

    with pytest.raises(TransientError) as caught:
        await read_and_stop()
    assert caught.value.code == "decoder_stalled"
    assert children_of(client) == []


async def test_a_medium_that_costs_too_much_processor_time_is_refused(client: DecoderClient, tmp_path: Path) -> None:
    path = tmp_path / "expensive"
    path.write_bytes(unfolding_gif(side=4000, frames=400))
    mean = Limits(
        starting_seconds=4,
        wall_seconds_per_media_minute=10_000,
        cpu_seconds_per_media_minute=0.01,
        animation_bytes=10**12,
    )
    with pytest.raises(MediumRefusedError) as caught:
        await events_of(client, str(path), PreparationPlan(limits=mean))
    assert caught.value.code == "limit_cpu_seconds_per_media_minute"


async def test_memory_has_a_ceiling_which_is_named(client: DecoderClient, tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(enormous_png(side=8000))
    with pytest.raises(MediumRefusedError) as caught:
        await events_of(client, str(path), PreparationPlan(limits=Limits(memory_bytes=500 * 1024**2)))
    assert caught.value.code == "limit_memory_bytes"
    assert len(await events_of(client, str(path), PreparationPlan())) == 2


async def test_derivatives_are_counted_as_they_come(client: DecoderClient, long_film: str) -> None:
    with pytest.raises(MediumRefusedError) as caught:
        await events_of(client, long_film, replace(PLAN, limits=Limits(derivative_bytes=500_000)))
    assert caught.value.code == "limit_derivative_bytes"
    assert children_of(client) == []


async def test_a_file_beyond_the_size_limit_is_refused(client: DecoderClient, picture: str) -> None:
    with pytest.raises(MediumRefusedError) as caught:
        await events_of(client, picture, replace(PLAN, limits=Limits(upload_bytes=100)))
    assert caught.value.code == "limit_upload_bytes"


async def test_when_the_server_dies_what_it_decodes_dies_too_and_a_new_one_takes_over(
    client: DecoderClient, long_film: str
) -> None:
    first = client.process
    assert first is not None
    children: list[psutil.Process] = []

    async def read_and_kill_server() -> None:
        async with contextlib.aclosing(client.prepare(long_film, PLAN)) as events:
            async for event in events:
                if isinstance(event, Probed):
                    children.extend(children_of(client))
                    os.kill(first, signal.SIGKILL)

    with pytest.raises(TransientError):
        await read_and_kill_server()
    await until(lambda: not any(child.is_running() for child in children))
    assert len(await events_of(client, long_film)) == 12
    assert client.process not in {None, first}


async def test_no_process_outlives_a_main_process_that_is_killed(long_film: str) -> None:
    script = (
        "import asyncio, sys\n"
        "from aima_preprocessing.decoder_client import DecoderClient, PreparationPlan\n"
        "async def main():\n"
        "    client = DecoderClient()\n"
        "    async for _ in client.prepare(sys.argv[1], PreparationPlan()):\n"
        "        print('decoding', flush=True)\n"
        "        await asyncio.sleep(1000)\n"
        "asyncio.run(main())\n"
    )
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, long_film, stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    assert await parent.stdout.readline() == b"decoding\n"
    offspring = psutil.Process(parent.pid).children(recursive=True)
    assert offspring
    parent.kill()
    await parent.wait()
    await until(lambda: not any(child.is_running() for child in offspring))


async def test_nothing_is_left_open_by_many_media(client: DecoderClient, picture: str, tmp_path: Path) -> None:
    garbage = tmp_path / "garbage"
    garbage.write_bytes(b"%PDF-1.7")

    async def some() -> None:
        for _ in range(10):
            await events_of(client, picture)
            with pytest.raises(MediumRefusedError):
                await events_of(client, str(garbage))

    def open_descriptors() -> tuple[int, int]:
        return psutil.Process().num_fds(), psutil.Process(client.process).num_fds()

    await some()
    before = open_descriptors()
    await some()
    assert open_descriptors() == before
    assert children_of(client) == []


async def test_the_layers_are_reported(client: DecoderClient) -> None:
    assert {layer.name for layer in client.layers()} == {
        "resource_limits",
        "capabilities",
        "no_new_privileges",
        "landlock",
        "seccomp",
        "empty_directory",
        "patched_decoder",
    }
    assert all(layer.active for layer in client.layers())
    assert client.refuses_media == ""


async def test_without_a_layer_media_wait_unless_the_operator_accepted_it(
    client: DecoderClient, picture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lacking = (Layer("landlock", active=False, detail="the kernel offers no Landlock"),)
    monkeypatch.setattr(client, "_layers", lacking)
    with pytest.raises(SandboxMissingError, match="AIMA_UNSANDBOXED=yes") as caught:
        await events_of(client, picture)
    assert isinstance(caught.value, UnavailableError)
    assert "no Landlock" in client.refuses_media
    accepted = DecoderClient(unsandboxed=True)
    try:
        await accepted.start()
        monkeypatch.setattr(accepted, "_layers", lacking)
        assert len(await events_of(accepted, picture)) == 2
    finally:
        await accepted.close()


async def test_a_closed_client_decodes_nothing(picture: str) -> None:
    client = DecoderClient()
    await client.start()
    await client.close()
    with pytest.raises(UnavailableError):
        await events_of(client, picture)


def test_the_main_process_loads_none_of_the_heavy_libraries() -> None:
    import subprocess

    code = (
        "import sys, aima_preprocessing.decoder_client\n"
        "print([name for name in ('av', 'PIL', 'cv2', 'magika', 'onnxruntime') if name in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
