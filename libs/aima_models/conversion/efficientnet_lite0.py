"""EfficientNet-Lite0 from its PyTorch weights: ImageNet logits and the 1280 numbers before them.

The network is that of Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks"
(2019), in the Lite form: no squeeze-and-excitation, ReLU6 for swish. Batch normalisation is folded into the
convolutions.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aima_models.conversion.graph import GraphBuilder
from aima_models.conversion.torch_file import Tensors, read_torch_file

EPSILON = 1e-3
"""Batch normalisation's, as the weights were trained with (TensorFlow's default)."""
SIDE = 224
NORM_PARTS = ("weight", "bias", "running_mean", "running_var")


@dataclass(frozen=True)
class _Stage:
    repeats: int
    kernel: int
    stride: int
    expansion: int
    channels_in: int
    channels_out: int


STAGES = (
    _Stage(1, 3, 1, 1, 32, 16),
    _Stage(2, 3, 2, 6, 16, 24),
    _Stage(2, 5, 2, 6, 24, 40),
    _Stage(3, 3, 2, 6, 40, 80),
    _Stage(3, 5, 1, 6, 80, 112),
    _Stage(4, 5, 2, 6, 112, 192),
    _Stage(1, 3, 1, 6, 192, 320),
)
"""Table 1 of the paper, at width and depth 1."""


class _Network:
    def __init__(self, weights: Tensors) -> None:
        self.weights = weights
        self.graph = GraphBuilder("efficientnet-lite0")
        self.zero = self.graph.constant(0.0)
        self.six = self.graph.constant(6.0)

    def convolution(self, x: str, convolution: str, norm: str, stride: int = 1, groups: int = 1) -> str:
        """Add a convolution with its batch normalisation folded in, and no activation."""
        kernel, bias = folded(self.weights, convolution, norm)
        return self.graph.node(
            "Conv",
            [x, self.graph.constant(kernel), self.graph.constant(bias)],
            strides=[stride, stride],
            group=groups,
            kernel_shape=list(kernel.shape[2:]),
            auto_pad="SAME_UPPER",
        )

    def relu6(self, x: str) -> str:
        return self.graph.node("Clip", [x, self.zero, self.six])

    def block(self, x: str, number: int, stage: _Stage, repeat: int) -> str:
        """Add an inverted bottleneck: widen, filter each channel, narrow, and add what came in where shapes allow."""
        name = f"_blocks.{number}."
        stride = stage.stride if repeat == 0 else 1
        channels = stage.channels_in if repeat == 0 else stage.channels_out
        y = x
        if stage.expansion != 1:
            y = self.relu6(self.convolution(y, name + "_expand_conv", name + "_bn0"))
        groups = channels * stage.expansion
        y = self.relu6(self.convolution(y, name + "_depthwise_conv", name + "_bn1", stride, groups))
        y = self.convolution(y, name + "_project_conv", name + "_bn2")
        return self.graph.node("Add", [y, x]) if stride == 1 and channels == stage.channels_out else y


def folded(weights: Tensors, convolution: str, norm: str) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Multiply a convolution with the batch normalisation after it: kernel and bias."""
    gain, shift, mean, variance = (weights[f"{norm}.{part}"] for part in NORM_PARTS)
    scale = gain / np.sqrt(variance + np.float32(EPSILON))
    kernel = weights[f"{convolution}.weight"] * scale[:, None, None, None]
    return kernel.astype(np.float32), (shift - mean * scale).astype(np.float32)


def convert(members: Mapping[str, bytes]) -> bytes:
    """Make the ONNX file from the only member, a PyTorch weights file."""
    (content,) = members.values()
    network = _Network(read_torch_file(content))
    graph = network.graph
    x = graph.input("x", "float32", ["n", 3, SIDE, SIDE])
    x = network.relu6(network.convolution(x, "_conv_stem", "_bn0", stride=2))
    number = 0
    for stage in STAGES:
        for repeat in range(stage.repeats):
            x = network.block(x, number, stage, repeat)
            number += 1
    x = network.relu6(network.convolution(x, "_conv_head", "_bn1"))
    embedding = graph.node("ReduceMean", [x], output="embed", axes=[2, 3], keepdims=0)
    weight, bias = (graph.constant(network.weights[f"_fc.{part}"]) for part in ("weight", "bias"))
    graph.node("Gemm", [embedding, weight, bias], output="logits", transB=1)
    graph.output("logits", "float32", ["n", 1000])
    graph.output("embed", "float32", ["n", 1280])
    return graph.serialise()
