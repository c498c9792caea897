"""What other programs read: subtitles of a medium, and all statements of a dossier as a table."""

import csv
import io
import unicodedata
from collections.abc import Iterable

from aima_dossier.model import Dossier, DossierFinding, DossierMedium

COLUMNS = (
    "medium_id",
    "medium_sha256",
    "file_name",
    "finding_id",
    "kind",
    "start_seconds",
    "end_seconds",
    "precision_seconds",
    "text",
    "label",
    "language",
    "confidence",
    "x",
    "y",
    "width",
    "height",
    "analyzer",
    "model_name",
    "model_version",
    "model_sha256",
)

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
"""A cell that begins with one of these is run as a formula by spreadsheet programs (CWE-1236)."""

LEAST_CUE_SECONDS = 0.2
"""A cue that ends where it starts is refused by players; so short is none spoken."""


def webvtt(medium: DossierMedium) -> str:
    """Write the speech of a medium as WebVTT subtitles (W3C), in its own words or a person's correction."""
    cues = [f"{_clock(start, '.')} --> {_clock(end, '.')}\n{_vtt_text(text)}\n" for start, end, text in _cues(medium)]
    return "\n".join(["WEBVTT\n", *cues])


def srt(medium: DossierMedium) -> str:
    """Write the speech of a medium as SubRip subtitles."""
    cues = [
        f"{place}\n{_clock(start, ',')} --> {_clock(end, ',')}\n{_one_line(text)}\n"
        for place, (start, end, text) in enumerate(_cues(medium), start=1)
    ]
    return "\n".join(cues)


def table(dossier: Dossier) -> str:
    """Write every statement as a row of CSV (RFC 4180), with what model made it, and about which content."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for medium in dossier.media:
        writer.writerows(_row(medium, finding) for finding in medium.findings)
    return out.getvalue()


def _cues(medium: DossierMedium) -> Iterable[tuple[float, float, str]]:
    for finding in medium.findings:
        text = _one_line(corrected_text(finding))
        if finding.kind == "speech" and text:
            yield finding.start_seconds, max(finding.end_seconds, finding.start_seconds + LEAST_CUE_SECONDS), text


def corrected_text(finding: DossierFinding) -> str:
    """Tell a statement's words as people last left them."""
    said = [made.value for made in finding.corrections if made.field == "text"]
    return said[-1] if said else finding.text or ""


def _row(medium: DossierMedium, finding: DossierFinding) -> list[str | float | None]:
    region, model = finding.region, finding.model
    return [
        medium.id,
        medium.sha256,
        _cell(medium.file_names[0] if medium.file_names else ""),
        finding.id,
        finding.kind,
        finding.start_seconds,
        finding.end_seconds,
        finding.precision_seconds,
        _cell(corrected_text(finding)),
        _cell(finding.label or ""),
        finding.language,
        finding.confidence,
        *((region.x, region.y, region.width, region.height) if region else (None,) * 4),
        finding.analyzer,
        *((_cell(model.name), _cell(model.version), model.sha256) if model else (None,) * 3),
    ]


def _cell(text: str) -> str:
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text


def _one_line(text: str) -> str:
    """Keep a cue in one line: an empty line would end it, and a control character break it."""
    spaced = "".join(" " if unicodedata.category(letter) in ("Cc", "Zl", "Zp") else letter for letter in text)
    return " ".join(spaced.split()).replace("-->", "→")


def _vtt_text(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _clock(seconds: float, point: str) -> str:
    milliseconds = round(seconds * 1000)
    minutes, rest = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{rest // 1000:02}{point}{rest % 1000:03}"
