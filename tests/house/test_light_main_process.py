"""The process that holds all services never loads a model runtime or a decoder: its children do."""

import subprocess
import sys

import pytest

HEAVY = ("av", "cv2", "h5py", "magika", "moonshine_voice", "onnx", "onnxruntime", "py3langid", "rapidocr", "tokenizers")
LIST_LOADED = "; print(*sorted(name for name in sys.modules if '.' not in name))"


def loaded_by(statement: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; {statement}{LIST_LOADED}"], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


@pytest.mark.parametrize("module", ["aima_embedded.__main__", "aima_client.__main__"])
def test_starting_loads_nothing_heavy(module: str) -> None:
    loaded = loaded_by(f"import {module}")
    assert module.split(".", maxsplit=1)[0] in loaded
    assert loaded.isdisjoint(HEAVY)


def test_a_process_of_a_cluster_loads_the_client_of_qdrant_only_where_it_talks_to_one() -> None:
    assert "motor" in loaded_by("import aima_fusion.__main__")
    assert "qdrant_client" not in loaded_by("import aima_fusion.__main__")


def test_a_heavy_library_is_seen() -> None:
    assert "cv2" in loaded_by("import cv2")
