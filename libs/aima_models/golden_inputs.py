"""Inputs that AIMA makes itself, the same on every machine, to try models with.

Nothing random and nothing borrowed: the texture comes out of a hash function, the sound out of sines.
"""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from aima_models.preparation import colour_histograms

Tensors = Mapping[str, npt.NDArray[Any]]

SAMPLE_RATE = 16_000
PITCH_HERTZ = 140.0
"""Of a low voice."""
FORMANTS_HERTZ = (730.0, 1090.0, 2440.0)
"""Of the vowel in "father": Peterson and Barney, "Control methods used in a study of the vowels" (1952)."""


def patchwork(name: str, rows: int, columns: int, patch: int) -> npt.NDArray[np.uint8]:
    """Make an RGB picture of rows x columns coloured squares with a gentle slope of light over it."""
    content = hashlib.shake_256(name.encode()).digest(rows * columns * 3)
    colours = np.frombuffer(content, np.uint8).reshape(rows, columns, 3)
    picture = colours.repeat(patch, axis=0).repeat(patch, axis=1).astype(np.int64)
    slope = np.linspace(0, 64, picture.shape[1]).astype(np.int64)[None, :, None]
    brightened: npt.NDArray[np.uint8] = ((picture * 3) // 4 + slope).clip(0, 255).astype(np.uint8)
    return brightened


def _channels_first(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    return np.ascontiguousarray(picture.transpose(2, 0, 1)[None], np.float32)


def _patchwork_224() -> Tensors:
    """Make one picture as EfficientNet-Lite0 takes it."""
    picture = _channels_first(patchwork("efficientnet-lite0", 14, 14, 16))
    return {"x": (picture - np.float32(127)) / np.float32(128)}


def _patchwork_96x128() -> Tensors:
    """Make one picture as CenterFace takes it."""
    return {"input.1": _channels_first(patchwork("centerface", 12, 16, 8))}


def _hard_cut() -> Tensors:
    """Make a hundred frames of two still scenes that drift by a pixel now and then, with a cut after the fiftieth."""
    scenes = [patchwork(scene, 9, 16, 6) for scene in ("scene before the cut", "scene after the cut")]
    frames = [np.roll(scenes[number // 50], number // 10, axis=1)[:27, :48] for number in range(100)]
    window = np.stack(frames)[None]
    return {"frames": window, "hist": colour_histograms(window)}


def hum(seconds: float) -> npt.NDArray[np.float32]:
    """Make a voice-like sound: harmonics of a pitch, strongest at a vowel's formants, swelling four times a second."""
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    sound = np.zeros_like(time)
    for harmonic in range(1, 29):
        frequency = harmonic * PITCH_HERTZ
        strength = sum(1.0 / (1.0 + ((frequency - formant) / 90.0) ** 2) for formant in FORMANTS_HERTZ)
        sound += (strength + 0.02) * np.sin(2 * np.pi * frequency * time)
    swell = 0.55 - 0.45 * np.cos(2 * np.pi * 4.0 * time)
    voiced: npt.NDArray[np.float32] = (0.3 * swell * sound / np.abs(sound).max()).astype(np.float32)
    return voiced


def _hum() -> Tensors:
    """Make a second of silence and a second of hum as Silero VAD takes them."""
    samples = np.concatenate([np.zeros(SAMPLE_RATE, np.float32), hum(1.0)])
    frames = samples[: len(samples) // 512 * 512].reshape(-1, 512)
    context = np.concatenate([np.zeros((1, 64), np.float32), frames[:-1, -64:]])
    state = np.zeros((1, 1, 128), np.float32)
    return {"input": np.concatenate([context, frames], axis=1), "h": state, "c": state}


MAKERS: Mapping[str, Callable[[], Tensors]] = {
    "patchwork-224": _patchwork_224,
    "patchwork-96x128": _patchwork_96x128,
    "hard-cut": _hard_cut,
    "hum": _hum,
}
"""The makers of tensors, by the name that manifests use."""
