import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

LONGEST_FILE = 500
LONGEST_FUNCTION = 60


def too_long(name: str, source: str) -> Iterator[str]:
    lines = len(source.splitlines())
    if lines > LONGEST_FILE:
        yield f"{name} has {lines} lines"
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > LONGEST_FUNCTION:
                yield f"{name}:{node.lineno} {node.name} has {length} lines"


def test_files_and_functions_fit_on_their_pages(root: Path, tracked_files: list[Path]) -> None:
    sources = [path for path in tracked_files if path.suffix == ".py"]
    assert len(sources) > 50
    found = [line for path in sources for line in too_long(str(path.relative_to(root)), path.read_text("utf-8"))]
    assert found == []


@pytest.mark.parametrize(
    ("source", "complaints"),
    [
        ("x = 1\n" * LONGEST_FILE, 0),
        ("x = 1\n" * (LONGEST_FILE + 1), 1),
        ("def f():\n" + "    x = 1\n" * (LONGEST_FUNCTION - 1), 0),
        ("async def f():\n" + "    x = 1\n" * LONGEST_FUNCTION, 1),
    ],
)
def test_a_line_too_many_is_seen(source: str, complaints: int) -> None:
    assert len(list(too_long("made.py", source))) == complaints
