import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from aima_servers.running import PREFIX, clear_leftovers


def test_only_the_data_of_dead_processes_is_cleared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    dead, living = tmp_path / f"{PREFIX}{ended.pid}-a", tmp_path / f"{PREFIX}{os.getpid()}-b"
    strange, other = tmp_path / f"{PREFIX}x-c", tmp_path / "other"
    for folder in (dead, living, strange, other):
        (folder / "data").mkdir(parents=True)
    clear_leftovers()
    assert sorted(tmp_path.iterdir()) == sorted([living, strange, other])
