"""The checkout, as the rules of the house see it."""

import subprocess
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def root() -> Path:
    return Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def tracked_files(root: Path) -> list[Path]:
    """List every file under version control that still exists."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, check=True, capture_output=True, text=True)
    return [root / name for name in listed.stdout.split("\0") if name and (root / name).is_file()]
