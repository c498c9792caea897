"""Where CI is set, a test that needs a server or a browser may not be skipped."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SKIPS = "import pytest\n\ndef test_it():\n    pytest.skip('no such server here')\n"
SKIPS_ALL = "import pytest\n\npytest.skip('no such server here', allow_module_level=True)\n"
EXPECTED = "import pytest\n\n@pytest.mark.xfail(reason='known')\ndef test_it():\n    assert False\n"


def run(folder: Path, root: Path, ci: str) -> int:
    shutil.copy(root / "tests/conftest.py", folder / "conftest.py")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", str(folder),
         "-o", "markers=connected\nbrowser", "--import-mode=importlib", str(folder)],
        env=os.environ | {"CI": ci}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode in {0, 1, 2, 5}, done.stdout + done.stderr
    return done.returncode


@pytest.mark.parametrize("source", [SKIPS, SKIPS_ALL], ids=["one test", "a whole file"])
@pytest.mark.parametrize("tier", ["connected", "browser"])
def test_a_skip_fails_only_where_ci_is_set(source: str, tier: str, tmp_path: Path, root: Path) -> None:
    (tmp_path / tier).mkdir()
    (tmp_path / tier / "test_made.py").write_text(source, "utf-8")
    assert run(tmp_path, root, ci="") in {0, 5}
    assert run(tmp_path, root, ci="true") in {1, 2}


@pytest.mark.parametrize(("tier", "source"), [("unit", SKIPS), ("connected", EXPECTED)], ids=["unit", "expected"])
def test_other_skips_and_expected_failures_are_left_alone(tier: str, source: str, tmp_path: Path, root: Path) -> None:
    (tmp_path / tier).mkdir()
    (tmp_path / tier / "test_made.py").write_text(source, "utf-8")
    assert run(tmp_path, root, ci="true") == 0
