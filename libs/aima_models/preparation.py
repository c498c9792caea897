"""Arithmetic that belongs to a model's input and is easy to get subtly wrong."""

import numpy as np
import numpy.typing as npt

BITS_PER_CHANNEL = 3
BINS = 2 ** (3 * BITS_PER_CHANNEL)


def colour_histograms(frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """TransNetV2's second input: for RGB frames [..., height, width, 3], unit-length histograms [..., 512].

    A bin is the highest three bits of red, green and blue, red first.
    """
    *batch, height, width, _channels = frames.shape
    top = (frames >> (8 - BITS_PER_CHANNEL)).astype(np.int64).reshape(-1, height * width, 3)
    bins = (top[..., 0] << (2 * BITS_PER_CHANNEL)) | (top[..., 1] << BITS_PER_CHANNEL) | top[..., 2]
    counts = np.zeros((len(bins), BINS), dtype=np.float32)
    np.add.at(counts, (np.arange(len(bins))[:, None], bins), 1.0)
    lengths = np.linalg.norm(counts, axis=1, keepdims=True)
    unit: npt.NDArray[np.float32] = (counts / np.maximum(lengths, np.float32(1e-12))).reshape(*batch, BINS)
    return unit
