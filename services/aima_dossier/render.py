"""A dossier as one HTML page that needs nothing else: no network, no other file, and no script to be read."""

import base64
import hashlib
from collections.abc import Mapping
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from aima_dossier import timeline, wording
from aima_dossier.canonical import digest
from aima_dossier.frames import MediumImages
from aima_dossier.model import Dossier
from aima_dossier.view import KIND_NAMES, page

POLICY = (
    "default-src 'none'; img-src data:; style-src 'sha256-{style}'; script-src 'sha256-{script}'; "
    "base-uri 'none'; form-action 'none'"
)
"""Nothing is loaded, nothing is sent, and no script or style runs but the page's own, known by its hash."""


def render(dossier: Dossier, images: Mapping[str, MediumImages | bytes] | None = None) -> str:
    """Write the page of a dossier.

    `images` by medium id; bytes alone are a thumbnail. Equal arguments give an equal page.
    """
    shown = {
        medium: MediumImages(thumbnail=given) if isinstance(given, bytes) else given
        for medium, given in (images or {}).items()
    }
    environment = _environment()
    style, script = (_source(name) for name in ("dossier.css", "dossier.js"))
    return environment.get_template("dossier.html.j2").render(
        page=page(dossier, shown),
        dossier=dossier,
        digest=digest(dossier),
        policy=POLICY.format(style=_hash(style), script=_hash(script)),
        style=Markup(style),  # noqa: S704 - a file of this package
        script=Markup(script),  # noqa: S704 - a file of this package
    )


def _source(name: str) -> str:
    loader = PackageLoader("aima_dossier")
    source, _, _ = loader.get_source(_environment(), name)
    return source


def _hash(text: str) -> str:
    """Hash a style or script as a content security policy names it."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("aima_dossier"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "visible": wording.visible,
        "plain": wording.plain,
        "clock": wording.clock,
        "size": wording.size,
        "language": wording.language_name,
        "number": wording.number,
        "percent": wording.percent,
        "short_hash": wording.short_hash,
        "kind_name": lambda kind: KIND_NAMES.get(kind, kind),
    }
    environment.globals |= {"counted": wording.counted, "stretch": wording.stretch, "tooltip": timeline.tooltip}
    return environment
