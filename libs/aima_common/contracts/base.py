"""The base of everything that is said or stored in a named shape: strict, frozen, tolerant of new fields."""

from pydantic import BaseModel, ConfigDict


class Contract(BaseModel):
    """A shape that leaves the process.

    Strict (a string is not a number) and frozen. Unknown fields are ignored, so that an old reader
    understands a newer writer; a field is only ever added, with a default.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", allow_inf_nan=False, ser_json_bytes="base64")


class Message(Contract):
    """A fact (past participle) that travels on the bus."""
