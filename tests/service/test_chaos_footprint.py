"""What a process takes up is seen to grow, and to shrink again."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import psutil
import pytest

from aima_monitoring.invariants import Footprint
from tests.chaos.footprint import footprint

GREEDY = """
import subprocess, sys
kept = []
for order in sys.stdin:
    match order.split():
        case ["memory"]: kept.append(bytearray(64 << 20))
        case ["files"]: kept += [open("/dev/null") for _ in range(20)]
        case ["child"]: kept.append(subprocess.Popen(["sleep", "60"]))
        case ["scratch", folder]: open(folder + "/left", "w").close()
        case ["end"]:
            while kept:
                one = kept.pop()
                if isinstance(one, subprocess.Popen): one.kill(); one.wait()
                one = None
    print("done", flush=True)
"""


class Greedy:
    """A process that takes what it is told to take."""

    def __init__(self, process: "subprocess.Popen[str]", scratch: Path) -> None:
        self._process = process
        self._scratch = scratch

    def take(self, order: str) -> Footprint:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        out: IO[str] = self._process.stdout
        self._process.stdin.write(order + "\n")
        self._process.stdin.flush()
        assert out.readline() == "done\n"
        return footprint(self._process.pid, self._scratch)


@pytest.fixture
def greedy(tmp_path: Path) -> Iterator[Greedy]:
    command = [sys.executable, "-c", GREEDY]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Greedy(process, tmp_path)
        process.communicate("end\n")


@pytest.mark.parametrize(
    ("order", "name", "least"),
    [
        ("memory", "rss_bytes", 60 << 20),
        ("files", "descriptors", 20),
        ("child", "children", 1),
        ("scratch {folder}", "scratch_files", 1),
    ],
)
def test_what_a_process_takes_is_seen_and_what_it_gives_back_is_gone(
    greedy: Greedy, tmp_path: Path, order: str, name: str, least: int
) -> None:
    before = greedy.take("nothing")
    after = greedy.take(order.format(folder=tmp_path))
    assert getattr(after, name) - getattr(before, name) >= least
    (tmp_path / "left").unlink(missing_ok=True)
    given_back = greedy.take("end")
    assert getattr(given_back, name) - getattr(before, name) < least


def test_a_process_that_ended_has_no_footprint() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    with pytest.raises(psutil.NoSuchProcess):
        footprint(ended.pid)
