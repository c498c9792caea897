"""Writes ONNX graphs node by node, always to the same bytes.

The bytes depend on the weights and the calling code alone: names are counted, nothing is stamped with a
time or a tool version, and all arithmetic on weights is element-wise IEEE 754 single precision, which every
CPU rounds alike.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import GraphProto, ModelProto, TensorProto, helper, numpy_helper

OPSET = 17
"""The first operator set with LayerNormalization."""
IR_VERSION = 8
"""The file format that belongs to operator set 17."""
ELEMENT_TYPES = {"float32": TensorProto.FLOAT, "uint8": TensorProto.UINT8, "int64": TensorProto.INT64}

Shape = Sequence[int | str]


class GraphBuilder:
    """Collects nodes and constants in the order in which they are made."""

    def __init__(self, name: str) -> None:
        self._graph = GraphProto(name=name)
        self._count = 0

    def constant(self, value: npt.ArrayLike, dtype: npt.DTypeLike = np.float32) -> str:
        """Add a constant tensor and return its name."""
        array = np.array(value, dtype=dtype, order="C")
        name = self._next("constant")
        self._graph.initializer.append(numpy_helper.from_array(array, name))
        return name

    def node(self, operator: str, inputs: Sequence[str], output: str = "", **attributes: Any) -> str:
        """Add an operator with one output and return that output's name."""
        name = output or self._next(operator)
        self._graph.node.append(helper.make_node(operator, list(inputs), [name], **attributes))
        return name

    def input(self, name: str, dtype: str, shape: Shape) -> str:
        """Declare an input of the graph and return its name."""
        self._graph.input.append(helper.make_tensor_value_info(name, ELEMENT_TYPES[dtype], list(shape)))
        return name

    def output(self, name: str, dtype: str, shape: Shape) -> None:
        """Declare a named node as an output of the graph."""
        self._graph.output.append(helper.make_tensor_value_info(name, ELEMENT_TYPES[dtype], list(shape)))

    def serialise(self) -> bytes:
        """Write the finished model file."""
        model = ModelProto(ir_version=IR_VERSION, producer_name="aima", graph=self._graph)
        model.opset_import.append(helper.make_opsetid("", OPSET))
        return serialise(model)

    def _next(self, stem: str) -> str:
        self._count += 1
        return f"{stem}_{self._count}"


def serialise(model: ModelProto) -> bytes:
    """Write a model with its map entries in a fixed order."""
    return bytes(model.SerializeToString(deterministic=True))
