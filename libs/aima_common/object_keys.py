"""Where objects lie: a key says whose an object is, what it is, and which medium or case it is about. Pure."""

from aima_common.ids import MediumId, Sha256, TenantId, medium_id

MADE_OF_MEDIA = ("derivatives", "results", "pictures")
"""Folders with a folder for each medium, so that all that was made of one is found by its name when it is erased."""


def original(tenant: str, sha256: str) -> str:
    """Place the bytes of a medium."""
    return f"t/{tenant}/originals/{sha256}"


def derivative(tenant: str, medium: str, sha256: str) -> str:
    """Place frames, thumbnails or sound."""
    return f"t/{tenant}/derivatives/{medium}/{sha256}"


def result(tenant: str, medium: str, asked: str) -> str:
    """Place an analyzer's answer, by what was asked: whoever asks the same again finds it."""
    return f"t/{tenant}/results/{medium}/{asked}"


def picture(tenant: str, medium: str, sha256: str) -> str:
    """Place what was fused of a medium."""
    return f"t/{tenant}/pictures/{medium}/{sha256}"


def dossier(tenant: str, case: str, sha256: str, kind: str) -> str:
    """Place a version of a case's dossier; `kind` is "json" or "html"."""
    return f"t/{tenant}/dossiers/{case}/{sha256}.{kind}"


def folders_of(tenant: str, medium: str) -> list[str]:
    """Name the folders that hold nothing but what was made of this medium."""
    return [f"t/{tenant}/{folder}/{medium}/" for folder in MADE_OF_MEDIA]


def medium_of(key: str) -> str | None:
    """Name the medium that an object was made of; None for originals and dossiers."""
    parts = key.split("/")
    return parts[3] if len(parts) > 4 and parts[2] in MADE_OF_MEDIA else None


def medium_of_original(key: str) -> MediumId | None:
    """Name the medium whose bytes lie under a key; None for other objects."""
    parts = key.split("/")
    if len(parts) != 4 or parts[2] != "originals":
        return None
    sha256, _, _ = parts[3].partition(".")  # behind it the session of a direct write, if it was one
    return medium_id(TenantId(parts[1]), Sha256(sha256))


def case_of(key: str) -> str | None:
    """Name the case whose dossier lies under a key; None for other objects."""
    parts = key.split("/")
    return parts[3] if len(parts) > 4 and parts[2] == "dossiers" else None


def is_result(key: str) -> bool:
    """Tell whether an analyzer's answer lies under a key."""
    parts = key.split("/")
    return len(parts) > 4 and parts[2] == "results"
