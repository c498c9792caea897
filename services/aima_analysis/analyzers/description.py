"""What the system is told about an analyzer: the body of its document in the collection `analyzers`."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from aima_analysis.analyzers.analyzer import Analyzer
from aima_common.contracts.media import ModelReference
from aima_models.errors import MissingModelError, UnknownModelError, WrongHashError
from aima_models.store import ModelStore


@dataclass(frozen=True)
class Description:
    """An analyzer as this machine can run it."""

    body: dict[str, Any]
    """name, version, capability, accepts, needs, input, models, parameters, missing, digest, reason."""
    reason: str | None
    """Why it cannot run here; None when it can."""

    @property
    def state(self) -> str:
        """The state of its document."""
        return "available" if self.reason is None else "unavailable"


def describe(analyzer: type[Analyzer], store: ModelStore) -> Description:
    """Describe an analyzer with the models that are here.

    The digest covers all that its answers depend on, the models of enrichments included: with another model,
    or with one that was missing before, results have other keys.
    """
    manifest = analyzer.manifest
    models, lacking = _references(manifest.models, store)
    extras, without = _references(tuple(manifest.enrichments.values()), store)
    models += extras
    answers = {
        "name": manifest.name,
        "version": manifest.version,
        "models": [model.model_dump() for model in models],
        "parameters": dict(sorted(manifest.parameters.items())),
    }
    body = {
        **answers,
        "capability": manifest.capability,
        "accepts": sorted(manifest.accepts),
        "input": manifest.input,
        "needs": {
            "cpus": manifest.needs.cpus,
            "memory_bytes": manifest.needs.memory_bytes,
            "gpus": manifest.needs.gpus,
        },
        "missing": [
            {"capability": capability, "reason": without[model]}
            for capability, model in sorted(manifest.enrichments.items())
            if model in without
        ],
        "digest": hashlib.sha256(orjson.dumps(answers, option=orjson.OPT_SORT_KEYS)).hexdigest(),
    }
    reason = "; ".join(lacking.values()) or None
    return Description({**body, "reason": reason}, reason)


def reference_of(store: ModelStore, name: str) -> ModelReference:
    """Say which model of this machine has this name.

    Raises MissingModelError, UnknownModelError or WrongHashError.
    """
    manifest = store.resolve(name).manifest
    return ModelReference(name=manifest.name, version=manifest.version, sha256=manifest.digest)


def _references(names: Sequence[str], store: ModelStore) -> tuple[list[ModelReference], dict[str, str]]:
    models: list[ModelReference] = []
    lacking: dict[str, str] = {}
    for name in names:
        try:
            models.append(reference_of(store, name))
        except (MissingModelError, UnknownModelError, WrongHashError) as error:
            lacking[name] = f"{error}; {error.remedy}"
    return models, lacking
