"""CenterFace as it is published, with the dimensions set free.

The published file fixes its input to ten pictures of 32 x 32 and lists its weights as inputs, which keeps
ONNX Runtime from optimising it.
"""

from collections.abc import Iterable, Mapping

import onnx

from aima_models.conversion.graph import serialise

STRIDE = 4
"""Pixels of the picture per cell of every output."""


def convert(members: Mapping[str, bytes]) -> bytes:
    """Make the ONNX file from the only member, the published ONNX file."""
    (content,) = members.values()
    model = onnx.load_model_from_string(content)
    graph = model.graph
    weights = {tensor.name for tensor in graph.initializer}
    pictures = [value for value in graph.input if value.name not in weights]
    del graph.input[:]
    graph.input.extend(pictures)
    graph.ClearField("value_info")
    _free_dimensions(graph.input, "height", "width")
    _free_dimensions(graph.output, "rows", "columns")
    return serialise(model)


def _free_dimensions(values: Iterable[onnx.ValueInfoProto], height: str, width: str) -> None:
    for value in values:
        batch, _channels, rows, columns = value.type.tensor_type.shape.dim
        batch.dim_param, rows.dim_param, columns.dim_param = "n", height, width
