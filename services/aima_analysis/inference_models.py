"""The models of an inference process: loaded when asked for, shared by its analyzers, dropped when idle."""

import ctypes
from collections.abc import Callable
from typing import Any, TypeVar

from aima_analysis.analyzers.analyzer import Models
from aima_analysis.analyzers.description import reference_of
from aima_common.contracts.media import ModelReference
from aima_models.session import Session, load_session
from aima_models.store import ModelStore, ResolvedModel

T = TypeVar("T")


class LoadedModels(Models):
    """Models over a store of files. One thread a session, so that answers do not depend on the machine."""

    def __init__(self, store: ModelStore) -> None:
        self._store = store
        self._kept: dict[tuple[str, object], Any] = {}

    def load(self, name: str, loader: Callable[[ResolvedModel], T]) -> T:
        """Give what the loader makes of a model's files, making it at the first call."""
        return self._once((name, loader), lambda: loader(self._store.resolve(name)))

    def session(self, name: str, file: str | None = None) -> Session:
        """Give a session on one file of a model, opening it at the first call."""
        model = self._store.resolve(name)
        path = model.path if file is None else model.paths[file]
        return self._once((name, path), lambda: load_session(path))

    def reference(self, name: str) -> ModelReference:
        """Say which model this is."""
        return reference_of(self._store, name)

    def unload(self) -> None:
        """Forget everything and give the memory back to the system."""
        if self._kept:
            self._kept.clear()
            ctypes.CDLL(None).malloc_trim(0)

    def _once(self, key: tuple[str, object], make: Callable[[], T]) -> T:
        if key not in self._kept:
            self._kept[key] = make()
        kept: T = self._kept[key]
        return kept
