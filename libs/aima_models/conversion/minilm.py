"""all-MiniLM-L6-v2 from its safetensors file: a sentence becomes 384 numbers of length 1.

A BERT encoder (Devlin et al., 2018) of six layers, its mean over the sentence's own tokens, and the division by the
length, all inside the graph. Weights stay in single precision: eight-bit activations are scaled by the whole
batch, so a sentence's vector would depend on its neighbours, and on the CPU's integer instructions.
"""

import math
from collections.abc import Mapping

import numpy as np

from aima_models.conversion.graph import GraphBuilder
from aima_models.conversion.torch_file import Tensors

LAYERS = 6
HEADS = 12
WIDTH = 384
HEAD_WIDTH = WIDTH // HEADS
EPSILON = 1e-12
MASKED = -1e9
"""Added to the score of padding: its weight becomes exactly zero."""


class _Network:
    def __init__(self, weights: Tensors) -> None:
        self.weights = weights
        self.graph = GraphBuilder("all-minilm-l6-v2")

    def weight(self, name: str) -> str:
        return self.graph.constant(self.weights[name])

    def whole(self, *numbers: int) -> str:
        return self.graph.constant(numbers, np.int64)

    def apply(self, operator: str, *inputs: str) -> str:
        return self.graph.node(operator, inputs)

    def dense(self, x: str, layer: str) -> str:
        kernel = self.graph.constant(self.weights[f"{layer}.weight"].T)
        return self.apply("Add", self.apply("MatMul", x, kernel), self.weight(f"{layer}.bias"))

    def normalise(self, x: str, layer: str) -> str:
        inputs = [x, self.weight(f"{layer}.weight"), self.weight(f"{layer}.bias")]
        return self.graph.node("LayerNormalization", inputs, axis=-1, epsilon=EPSILON)

    def embeddings(self, token_ids: str) -> str:
        """Word, position and (always the first) segment, added and normalised."""
        length = self.apply("Slice", self.apply("Shape", token_ids), self.whole(1), self.whole(2))
        places = self.weight("embeddings.position_embeddings.weight")
        positions = self.apply("Slice", places, self.whole(0), length, self.whole(0))
        words = self.apply("Gather", self.weight("embeddings.word_embeddings.weight"), token_ids)
        segment = self.graph.constant(self.weights["embeddings.token_type_embeddings.weight"][0])
        total = self.apply("Add", self.apply("Add", words, positions), segment)
        return self.normalise(total, "embeddings.LayerNorm")

    def attention(self, x: str, mask: str, layer: str) -> str:
        split = self.whole(0, 0, HEADS, HEAD_WIDTH)

        def heads(part: str, order: list[int]) -> str:
            parted = self.apply("Reshape", self.dense(x, f"{layer}.attention.self.{part}"), split)
            return self.graph.node("Transpose", [parted], perm=order)

        scores = self.apply("MatMul", heads("query", [0, 2, 1, 3]), heads("key", [0, 2, 3, 1]))
        scores = self.apply("Mul", scores, self.graph.constant(1 / math.sqrt(HEAD_WIDTH)))
        shares = self.graph.node("Softmax", [self.apply("Add", scores, mask)], axis=-1)
        mixed = self.apply("MatMul", shares, heads("value", [0, 2, 1, 3]))
        joined = self.graph.node("Transpose", [mixed], perm=[0, 2, 1, 3])
        joined = self.apply("Reshape", joined, self.whole(0, 0, WIDTH))
        return self.dense(joined, f"{layer}.attention.output.dense")

    def gelu(self, x: str) -> str:
        half = self.apply("Mul", x, self.graph.constant(0.5))
        curve = self.apply("Erf", self.apply("Mul", x, self.graph.constant(1 / math.sqrt(2))))
        return self.apply("Mul", half, self.apply("Add", curve, self.graph.constant(1.0)))

    def layer(self, x: str, mask: str, layer: str) -> str:
        attended = self.apply("Add", self.attention(x, mask, layer), x)
        x = self.normalise(attended, f"{layer}.attention.output.LayerNorm")
        hidden = self.gelu(self.dense(x, f"{layer}.intermediate.dense"))
        return self.normalise(
            self.apply("Add", self.dense(hidden, f"{layer}.output.dense"), x), f"{layer}.output.LayerNorm"
        )

    def mean_of_tokens(self, x: str, present: str) -> str:
        """Add the unit vector in the direction of the mean of the tokens that are not padding."""
        column = self.apply("Unsqueeze", present, self.whole(2))
        total = self.graph.node("ReduceSum", [self.apply("Mul", x, column), self.whole(1)], keepdims=0)
        count = self.graph.node("ReduceSum", [column, self.whole(1)], keepdims=0)
        mean = self.apply("Div", total, count)
        length = self.graph.node("ReduceL2", [mean], axes=[1], keepdims=1)
        return self.graph.node("Div", [mean, length], output="embedding")


def convert(members: Mapping[str, bytes]) -> bytes:
    """Make the ONNX file from the only member, a safetensors file."""
    from safetensors.numpy import load

    (content,) = members.values()
    network = _Network({name.removeprefix("bert."): tensor for name, tensor in load(content).items()})
    graph = network.graph
    token_ids = graph.input("input_ids", "int64", ["n", "tokens"])
    attention_mask = graph.input("attention_mask", "int64", ["n", "tokens"])
    present = graph.node("Cast", [attention_mask], to=1)
    absent = network.apply("Sub", graph.constant(1.0), present)
    penalty = network.apply("Mul", absent, graph.constant(MASKED))
    mask = network.apply("Unsqueeze", penalty, network.whole(1, 2))
    x = network.embeddings(token_ids)
    for number in range(LAYERS):
        x = network.layer(x, mask, f"encoder.layer.{number}")
    network.mean_of_tokens(x, present)
    graph.output("embedding", "float32", ["n", WIDTH])
    return graph.serialise()
