"""Reading PyTorch files without trusting them."""

import io
import os
import pickle
import shlex
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aima_models.conversion.torch_file import STREAM_MAGIC, STREAM_PROTOCOL, read_torch_file
from aima_models.errors import UnsafeWeightsError

NUMBERS = np.arange(6, dtype=np.float32)


def _global(module: str, name: str) -> bytes:
    return f"c{module}\n{name}\n".encode()


def _body(value: object) -> bytes:
    """The opcodes that put a plain value on the stack."""
    return pickle.dumps(value, 2)[2:-1]


def _tensor(shape: tuple[int, ...], strides: tuple[int, ...], offset: int = 0) -> bytes:
    """The opcodes by which PyTorch writes a tensor of NUMBERS' storage."""
    storage = b"(" + _body("storage") + _global("torch", "FloatStorage") + _body("0") + _body("cpu") + _body(6) + b"tQ"
    hooks = _global("collections", "OrderedDict") + b")R"
    arguments = storage + _body(offset) + _body(shape) + _body(strides) + b"\x89" + hooks
    return _global("torch._utils", "_rebuild_tensor_v2") + b"(" + arguments + b"tR"


def _state(value: bytes) -> bytes:
    return b"\x80\x02" + _global("collections", "OrderedDict") + b")R(" + _body("weight") + value + b"u."


def _zip_file(state: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", state)
        archive.writestr("archive/data/0", NUMBERS.tobytes())
    return buffer.getvalue()


def _stream_file(state: bytes) -> bytes:
    head = b"".join(pickle.dumps(value, 2) for value in (STREAM_MAGIC, STREAM_PROTOCOL, {"little_endian": True}))
    return head + state + pickle.dumps(["0"], 2) + struct.pack("<q", NUMBERS.size) + NUMBERS.tobytes()


LAYOUTS = pytest.mark.parametrize("layout", [_zip_file, _stream_file])


@LAYOUTS
def test_tensors_come_out_as_they_were_put_in(layout: Any) -> None:
    tensors = read_torch_file(layout(_state(_tensor((2, 3), (3, 1)))))
    assert np.array_equal(tensors["weight"], NUMBERS.reshape(2, 3))


@LAYOUTS
def test_a_transposed_view_keeps_its_strides(layout: Any) -> None:
    tensors = read_torch_file(layout(_state(_tensor((3, 1), (1, 3), offset=3))))
    assert np.array_equal(tensors["weight"], NUMBERS.reshape(2, 3).T[:, 1:])


class _Payload:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (f"touch {shlex.quote(str(self.marker))}",)


@LAYOUTS
def test_a_file_that_would_run_a_command_is_refused_before_it_runs(layout: Any, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    state = _state(_body(_Payload(marker)))
    with pytest.raises(UnsafeWeightsError, match="system"):
        read_torch_file(layout(state))
    assert not marker.exists()
    pickle.loads(state)  # the control: a plain reader runs it
    assert marker.exists()


@pytest.mark.parametrize(
    "value",
    [
        _global("builtins", "eval"),
        _global("torch", "load"),
        _global("collections", "deque"),
        _global("numpy", "ndarray"),
    ],
)
def test_no_name_but_the_three_is_known(value: bytes) -> None:
    with pytest.raises(UnsafeWeightsError, match="no plain tensor file needs"):
        read_torch_file(_zip_file(_state(value)))


@pytest.mark.parametrize(
    ("shape", "strides", "offset"),
    [
        ((7,), (1,), 0),
        ((2, 3), (4, 1), 0),
        ((3,), (1,), 4),
        ((2, 3), (3, -1), 0),
        ((10_000_000_000,), (0,), 0),
        ((2, 3), (1,), 0),
        ((1,), (1,), -1),
    ],
)
@LAYOUTS
def test_a_tensor_that_reaches_out_of_its_storage_is_refused(
    layout: Any, shape: tuple[int, ...], strides: tuple[int, ...], offset: int
) -> None:
    with pytest.raises(UnsafeWeightsError):
        read_torch_file(layout(_state(_tensor(shape, strides, offset))))


@pytest.mark.parametrize("content", [b"", b"\x80\x02.", b"PK\x03\x04 broken", pickle.dumps([1, 2, 3])])
def test_what_is_not_a_weights_file_is_refused(content: bytes) -> None:
    with pytest.raises(UnsafeWeightsError):
        read_torch_file(content)


def test_a_value_that_is_no_tensor_is_refused() -> None:
    with pytest.raises(UnsafeWeightsError, match="not a tensor"):
        read_torch_file(_zip_file(_state(_body("words"))))
