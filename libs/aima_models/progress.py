"""How long work tells somebody how far it is."""

from typing import Literal, Protocol

Phase = Literal["download", "convert", "verify", "done"]


class Progress(Protocol):
    """Called often, from the thread that works; it must return quickly."""

    def __call__(self, name: str, phase: Phase, done: int, total: int) -> None:
        """Say that `done` of `total` is finished.

        `name` is a model's name, or a package for phase `download`, where the numbers are bytes; else they count
        files. `done` comes once a model, when its files are in place.
        """
        ...


def silent(name: str, phase: Phase, done: int, total: int) -> None:
    """Tell nobody."""
