"""The guide for new analyzers is true: its analyzer and its test run as they stand there."""

import re
import sys
import types
from pathlib import Path

import pytest

from aima_analysis import analyzers
from aima_analysis.analyzers.analyzer import Analyzer
from aima_analysis.analyzers.description import describe
from aima_models.store import ModelStore

GUIDE = Path(__file__).parents[3] / "docs/add_an_analyzer.md"
MODULE = "aima_analysis.analyzers.blur"


def test_the_guides_analyzer_passes_the_guides_test(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    analyzer, test = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    module = types.ModuleType(MODULE)
    exec(compile(analyzer, "blur.py", "exec"), module.__dict__)
    monkeypatch.setitem(sys.modules, MODULE, module)
    monkeypatch.setattr(analyzers, "blur", module, raising=False)
    names: dict[str, object] = {}
    exec(compile(test, "test_blur.py", "exec"), names)
    written = [value for name, value in names.items() if name.startswith("test_")]
    assert len(written) == 1
    for one in written:
        assert callable(one)
        one()
    blur: type[Analyzer] = module.__dict__["Blur"]
    assert describe(blur, ModelStore(tmp_path)).state == "available"
