"""Reads the tensors of a PyTorch weights file without PyTorch and without running what the file says.

Such a file is a pickle, and a pickle may name any function to call. This reader knows three names (an
ordered dictionary, "rebuild a tensor", and the element types) and refuses every other. Both layouts are
read: the zip archive, and the older stream of five pickles followed by raw storages.
"""

import collections
import io
import math
import pickle
import struct
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from aima_models.errors import UnsafeWeightsError

STREAM_MAGIC = 0x1950A86A20F9469CFC6C
STREAM_PROTOCOL = 1001
ELEMENT_TYPES: Mapping[str, type[np.generic]] = {
    "FloatStorage": np.float32,
    "DoubleStorage": np.float64,
    "HalfStorage": np.float16,
    "LongStorage": np.int64,
    "IntStorage": np.int32,
    "ByteStorage": np.uint8,
    "BoolStorage": np.bool_,
}

Tensors = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class _Storage:
    key: str
    dtype: type[np.generic]
    count: int


@dataclass(frozen=True)
class _TensorReference:
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _RestrictedUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str, /) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _reference
        if module == "torch" and name in ELEMENT_TYPES:
            return ELEMENT_TYPES[name]
        raise UnsafeWeightsError(f"the weights file asks for {module}.{name}, which no plain tensor file needs")

    def persistent_load(self, pid: Any, /) -> _Storage:
        if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] != "storage":
            raise UnsafeWeightsError(f"the weights file refers to {pid!r}, which is not a storage")
        return _Storage(key=str(pid[2]), dtype=pid[1], count=int(pid[4]))


def read_torch_file(content: bytes) -> Tensors:
    """Read a state dictionary: every tensor by its name, C-contiguous.

    Raises UnsafeWeightsError for anything but plain tensors inside their storages.
    """
    try:
        if zipfile.is_zipfile(io.BytesIO(content)):
            return _read_zip(content)
        return _read_stream(content)
    except UnsafeWeightsError:
        raise
    except Exception as error:
        raise UnsafeWeightsError(f"the weights file cannot be read as plain tensors: {error!r}") from error


def _read_zip(content: bytes) -> Tensors:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        index = next(name for name in archive.namelist() if name.endswith("/data.pkl"))
        prefix = index.removesuffix("data.pkl") + "data/"
        state = _RestrictedUnpickler(io.BytesIO(archive.read(index))).load()
        return _tensors(state, lambda storage: archive.read(prefix + storage.key))


def _read_stream(content: bytes) -> Tensors:
    stream = io.BytesIO(content)
    magic, protocol, _system, state, keys = (_RestrictedUnpickler(stream).load() for _ in range(5))
    if magic != STREAM_MAGIC or protocol != STREAM_PROTOCOL:
        raise UnsafeWeightsError("the file is not a PyTorch weights file")
    widths = {reference.storage.key: np.dtype(reference.storage.dtype).itemsize for reference in state.values()}
    storages: dict[str, bytes] = {}
    for key in keys:
        (count,) = struct.unpack("<q", stream.read(8))
        storages[key] = stream.read(count * widths[key])
    return _tensors(state, lambda storage: storages[storage.key])


def _reference(
    storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_rest: object
) -> _TensorReference:
    return _TensorReference(storage, offset, tuple(shape), tuple(strides))


def _tensors(state: Mapping[str, Any], bytes_of: Callable[[_Storage], bytes]) -> Tensors:
    tensors = {}
    for name, reference in state.items():
        if not isinstance(reference, _TensorReference):
            raise UnsafeWeightsError(f"{name!r} is not a tensor")
        tensors[name] = _materialise(reference, bytes_of(reference.storage))
    return tensors


def _materialise(reference: _TensorReference, content: bytes) -> npt.NDArray[Any]:
    """Cut a tensor out of its storage; the strides must stay inside it, whatever the file claims."""
    data = np.frombuffer(content, reference.storage.dtype)
    steps = (*reference.strides, reference.offset)
    if len(reference.shape) != len(reference.strides) or any(number < 0 for number in (*steps, *reference.shape)):
        raise UnsafeWeightsError("a tensor has a shape that is not one")
    reach = sum((size - 1) * stride for size, stride in zip(reference.shape, reference.strides, strict=True))
    if math.prod(reference.shape) > data.size or 0 in reference.shape or reference.offset + reach >= data.size:
        raise UnsafeWeightsError("a tensor reaches beyond its storage")
    strides = tuple(stride * data.itemsize for stride in reference.strides)
    return np.lib.stride_tricks.as_strided(data[reference.offset :], reference.shape, strides).copy()
