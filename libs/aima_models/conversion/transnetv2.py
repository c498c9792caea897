"""TransNetV2 from its PyTorch weights: the chance that a shot ends at each of 100 frames.

Souček and Lokoč, "TransNet V2: An effective deep network architecture for fast shot transition detection"
(2020). Batch normalisation is folded into the temporal convolutions, and the four spatial convolutions of a
cell are merged into one. The colour histogram comes in as a second input, made as in
`aima_models.preparation.colour_histograms`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from aima_models.conversion.graph import GraphBuilder
from aima_models.conversion.torch_file import Tensors, read_torch_file

WINDOW = 100
"""Frames a call sees."""
NEIGHBOURS = 50
"""Frames to either side that each frame is compared with."""
DILATIONS = (1, 2, 4, 8)
EPSILON = 1e-3
BINS = 512


class _Network:
    def __init__(self, weights: Tensors) -> None:
        self.weights = weights
        self.graph = GraphBuilder("transnetv2")

    def whole(self, *numbers: int) -> str:
        return self.graph.constant(numbers, np.int64)

    def dense(self, x: str, layer: str) -> str:
        weight = self.graph.constant(self.weights[f"{layer}.weight"].T)
        return self.graph.node(
            "Add", [self.graph.node("MatMul", [x, weight]), self.graph.constant(self.weights[f"{layer}.bias"])]
        )

    def relu(self, x: str) -> str:
        return self.graph.node("Relu", [x])

    def cell(self, x: str, name: str) -> str:
        """Four separable 3-D convolutions side by side, each looking further away in time."""
        kernels = [self.weights[f"{name}Conv3D_{dilation}.layers.0.weight"] for dilation in DILATIONS]
        width = kernels[0].shape[0]
        merged = self.graph.constant(np.concatenate(kernels))
        spatial = self.graph.node("Conv", [x, merged], kernel_shape=[1, 3, 3], pads=[0, 1, 1, 0, 1, 1])
        scale = self.weights[name + "bn.weight"] / np.sqrt(self.weights[name + "bn.running_var"] + np.float32(EPSILON))
        shift = self.weights[name + "bn.bias"] - self.weights[name + "bn.running_mean"] * scale
        branches = []
        for place, dilation in enumerate(DILATIONS):
            part = self.graph.node(
                "Slice", [spatial, self.whole(place * width), self.whole((place + 1) * width), self.whole(1)]
            )
            kernel = self.weights[f"{name}Conv3D_{dilation}.layers.1.weight"]
            channels = slice(place * len(kernel), (place + 1) * len(kernel))
            kernel = kernel * scale[channels, None, None, None, None]
            branches.append(self.temporal(part, kernel, shift[channels], dilation))
        return self.graph.node("Concat", branches, axis=1)

    def temporal(self, x: str, kernel: npt.NDArray[Any], bias: npt.NDArray[Any], dilation: int) -> str:
        return self.graph.node(
            "Conv",
            [x, self.graph.constant(kernel), self.graph.constant(bias)],
            kernel_shape=[3, 1, 1],
            dilations=[dilation, 1, 1],
            pads=[dilation, 0, 0, dilation, 0, 0],
        )

    def block(self, x: str, name: str) -> str:
        """Two cells with a shortcut round the second, then half the picture's sides."""
        first = self.relu(self.cell(x, f"{name}DDCNN.0."))
        second = self.relu(self.cell(first, f"{name}DDCNN.1."))
        total = self.graph.node("Add", [second, first])
        return self.graph.node("AveragePool", [total], kernel_shape=[1, 2, 2], strides=[1, 2, 2])

    def neighbourhood(self, similarities: str) -> str:
        """From [n, 100, 100] similarities, those of each frame with the 50 before it, itself and the 50 after."""
        padded = self.graph.node("Pad", [similarities, self.whole(0, 0, NEIGHBOURS, 0, 0, NEIGHBOURS)])
        span = 2 * NEIGHBOURS + 1
        places = np.arange(WINDOW)[:, None] + np.arange(span)[None, :]
        shape = self.graph.node("Shape", [similarities])
        batch = self.graph.node("Slice", [shape, self.whole(0), self.whole(1)])
        target = self.graph.node("Concat", [batch, self.whole(WINDOW, span)], axis=0)
        indices = self.graph.node("Expand", [self.graph.constant(places[None], np.int64), target])
        return self.graph.node("GatherElements", [padded, indices], axis=2)

    def self_similarity(self, x: str, layer: str) -> str:
        """How alike a frame's unit vector is to its neighbours', through a dense layer."""
        transposed = self.graph.node("Transpose", [x], perm=[0, 2, 1])
        window = self.neighbourhood(self.graph.node("MatMul", [x, transposed]))
        return self.relu(self.dense(window, layer))

    def frame_similarity(self, features: Sequence[str]) -> str:
        means = [self.graph.node("ReduceMean", [x], axes=[3, 4], keepdims=0) for x in features]
        joined = self.graph.node("Transpose", [self.graph.node("Concat", means, axis=1)], perm=[0, 2, 1])
        projected = self.dense(joined, "frame_sim_layer.projection")
        length = self.graph.node("ReduceL2", [projected], axes=[2], keepdims=1)
        length = self.graph.node("Max", [length, self.graph.constant(1e-12)])
        return self.self_similarity(self.graph.node("Div", [projected, length]), "frame_sim_layer.fc")


def convert(members: Mapping[str, bytes]) -> bytes:
    """Make the ONNX file from the only member, a PyTorch weights file."""
    (content,) = members.values()
    network = _Network(read_torch_file(content))
    graph = network.graph
    frames = graph.input("frames", "uint8", ["n", WINDOW, 27, 48, 3])
    histograms = graph.input("hist", "float32", ["n", WINDOW, BINS])
    as_numbers = graph.node("Cast", [frames], to=1)
    x = graph.node("Div", [graph.node("Transpose", [as_numbers], perm=[0, 4, 1, 2, 3]), graph.constant(255.0)])
    features = []
    for number in range(3):
        x = network.block(x, f"SDDCNN.{number}.")
        features.append(x)
    flat = graph.node("Reshape", [graph.node("Transpose", [x], perm=[0, 2, 3, 4, 1]), network.whole(0, WINDOW, -1)])
    frame_part = network.frame_similarity(features)
    colour_part = network.self_similarity(histograms, "color_hist_layer.fc")
    joined = graph.node("Concat", [colour_part, frame_part, flat], axis=2)
    hidden = network.relu(network.dense(joined, "fc1"))
    for output, layer in (("single", "cls_layer1"), ("many", "cls_layer2")):
        graph.node("Sigmoid", [network.dense(hidden, layer)], output=output)
        graph.output(output, "float32", ["n", WINDOW, 1])
    return graph.serialise()
