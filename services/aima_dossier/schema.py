"""The published JSON Schema of `dossier.json`, made from the model.

`make contracts` writes it to `docs/generated/dossier.schema.json`, `make check` holds that it is up to date.
"""

from typing import Any

from aima_dossier.model import SCHEMA, Dossier

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def dossier_schema() -> dict[str, Any]:
    """Make the schema (JSON Schema 2020-12). Objects may carry fields that it does not name."""
    schema = Dossier.model_json_schema(mode="serialization", by_alias=True)
    return {
        "$schema": DIALECT,
        "$id": SCHEMA,
        **schema,
        "description": "What AIMA found in the media of a case. Times are seconds from the start of a medium, "
        "regions are fractions of the upright picture with the origin at the top left, sizes are bytes.",
    }
