"""A shorter form of `python -m tests.chaos.heart`: the scheduler's heart is killed again and again."""

import json
import subprocess
import sys
from pathlib import Path

KILLS = 15


def test_what_is_killed_again_and_again_loses_nothing_and_the_checker_sees_what_is_not_protected(
    tmp_path: Path,
) -> None:
    report = tmp_path / "report.md"
    command = [sys.executable, "-m", "tests.chaos.heart", "--kills", str(KILLS), "--seed", "5", "--report", str(report)]
    # A process of its own: it forks, and must have no threads when it does.
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    told = json.loads(report.with_suffix(".json").read_text())
    assert sum(told["kills"].values()) == KILLS
    assert sum(told["states"].values()) == told["jobs"] > 0
    assert told["states"]["done"] > 0
    assert told["wrong"] == []
    assert all(told["found_without"].values()), "controls"
