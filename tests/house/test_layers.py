"""Who may import whom, and that the rules would notice."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

FORBIDDEN_IMPORTS = {
    "Services never import each other": ("services/aima_upload/domain.py", "import aima_fusion"),
    "The rooms stand on each other": ("libs/aima_common/contracts/media.py", "import aima_common.adapters"),
    "Services reach the stores through ports": ("services/aima_upload/service.py", "import aima_common.adapters"),
    "What decides is pure": ("services/aima_fusion/domain.py", "import asyncio"),
    "A driver is imported in one file": ("services/aima_scheduler/service.py", "import motor"),
    "A client knows words and HTTP alone": ("libs/aima_client/errors.py", "import aima_gateway"),
    "Nothing that is shipped needs the servers of the tests": ("libs/aima_common/errors.py", "import aima_servers"),
}


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join([str(folder / "libs"), str(folder / "services")])
    return subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-logo", "--no-cache"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": paths, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_nobody_imports_what_is_not_theirs(root: Path) -> None:
    done = lint(root)
    assert done.returncode == 0, done.stdout
    for name in FORBIDDEN_IMPORTS:
        assert f"{name} KEPT" in done.stdout


def test_every_rule_notices_a_forbidden_import(root: Path, tmp_path: Path) -> None:
    for folder in ("libs", "services"):
        shutil.copytree(root / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(root / "pyproject.toml", tmp_path)
    for file, line in FORBIDDEN_IMPORTS.values():
        path = tmp_path / file
        path.write_text(f"{path.read_text('utf-8')}\n{line}\n", "utf-8")
    done = lint(tmp_path)
    assert done.returncode == 1, done.stdout
    for name in FORBIDDEN_IMPORTS:
        assert f"{name} BROKEN" in done.stdout
