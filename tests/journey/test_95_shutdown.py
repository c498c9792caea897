"""Being told to stop in the middle of work: it ends well, leaves no process behind, and the next one goes on."""

import os
import signal
from pathlib import Path

import psutil
import pytest

from aima_client import embedded, state
from aima_demo import make_demo_case
from tests.journey.aima_process import aima, aima_on, all_of, calls_of_analyzers, documents_of, until, violations_in
from tests.unit.aima_preprocessing.made_media import photo, still

LIGHT = ("--analyzers", "faces,labels,speech,voice")


async def test_a_signal_in_the_middle_of_work_ends_all_processes_and_frees_all_jobs(tmp_path: Path) -> None:
    data = tmp_path / "data"
    film = make_demo_case(tmp_path / "demo").film
    with aima_on(data, *LIGHT) as running:
        async with running.client() as client:
            case = (await client.create_case("interrupted"))["id"]
            await client.upload(case, film)

            async def busy() -> bool:
                jobs = (await client.jobs(case=case, kind="analyse"))["jobs"]
                return {"done", "leased"} <= {job["state"] for job in jobs}

            await until("a part of the film is analysed and another is being analysed", busy)
        children = running.tree()[1:]
        assert len(children) >= 2, "the control: the decoder and inference are running"
        os.kill(running.process.pid, signal.SIGTERM)
        assert running.process.wait(embedded.STOP_SECONDS) == 0
        _, alive = psutil.wait_procs(children, timeout=5)
        assert alive == []
        assert state.locate(data) is None
    async with documents_of(data) as documents:
        assert await all_of(documents, "jobs", state="leased") == []
        (run,) = await all_of(documents, "runs")
        assert run.state == "analysing", "the control: there was work left"
        released = [job for job in await all_of(documents, "jobs", kind="analyse") if job.state == "ready"]
        assert released
        assert all(job.holder is None and job.body["attempts"] == 0 for job in released)
        done = {job.body["analyzer"] for job in await all_of(documents, "jobs", kind="analyse", state="done")}
        assert done
    with aima_on(data, *LIGHT) as running:
        async with running.client() as client:
            shown = await client.wait(case)
            calls = await calls_of_analyzers(client)
        assert shown["counts"]["analysed"] == 1
        assert not done & {name for name, count in calls.items() if count}, "what was done before is not done again"
        assert running.stop() == 0
    assert await violations_in(data) == []


async def test_a_second_aima_on_the_same_folder_is_refused_and_the_first_goes_on(
    tmp_path: Path,
) -> None:
    data = tmp_path / "data"
    with aima_on(data) as running:
        told = aima("up", "--data", data, "--port", "0")
        assert told.status == 2
        assert "already" in told.err
        with pytest.raises(embedded.StartError) as refused, embedded.started(data):
            pytest.fail("two processes own one folder")
        assert "another AIMA works on" in str(refused.value)
        async with running.client() as client:
            assert (await client.ready())["ready"]
        os.kill(running.process.pid, signal.SIGINT)
        assert running.process.wait(embedded.STOP_SECONDS) == 0


async def test_children_that_die_alone_are_replaced(tmp_path: Path) -> None:
    with aima_on(tmp_path / "data", "--analyzers", "faces,labels") as running:
        async with running.client() as client:
            case = (await client.create_case("after the deaths of children"))["id"]
            for number in range(2):
                path = tmp_path / f"{number}.png"
                path.write_bytes(still(photo(320, 240, seed=900 + number)))
                await client.upload(case, path)
                await client.wait(case)
                for child in running.tree()[1:]:
                    child.kill()
            assert (await client.case(case))["counts"]["analysed"] == 2
        assert running.stop() == 0


def test_children_do_not_outlive_an_aima_that_is_killed(tmp_path: Path) -> None:
    with aima_on(tmp_path / "data") as running:
        children = running.tree()[1:]
        assert children
        running.process.kill()
        running.process.wait()
        _, alive = psutil.wait_procs(children, timeout=10)
        assert alive == []
