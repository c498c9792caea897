"""A shorter form of `python -m tests.chaos.heart`: the scheduler's heart is killed again and again."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from pathlib import Path

import pytest

KILLS = 12


@pytest.mark.timeout(500)
async def test_what_is_killed_again_and_again_loses_nothing_and_the_checker_sees_what_is_not_protected(
    tmp_path: Path,
) -> None:
    report = tmp_path / "report.md"
    command = [sys.executable, "-m", "tests.chaos.heart", "--kills", str(KILLS), "--seed", "5", "--report", str(report)]
    # A process of its own: it forks, and must have no threads when it does. And a session of its own, to end them all.
    campaign = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, start_new_session=True
    )
    try:
        said, complained = await campaign.communicate()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(campaign.pid, signal.SIGKILL)
    assert campaign.returncode == 0, said.decode() + complained.decode()[-2000:]
    told = json.loads(report.with_suffix(".json").read_text())
    assert sum(told["kills"].values()) == KILLS
    assert sum(told["states"].values()) == told["jobs"] > 0
    assert told["states"]["done"] > 0
    assert told["wrong"] == []
    assert all(told["found_without"].values()), "controls"
