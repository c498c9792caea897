"""What the page of a dossier shows: everything laid out, so that the template only has to write it down."""

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from aima_common.contracts.media import MediumType, ModelReference
from aima_dossier import wording
from aima_dossier.frames import MediumImages, TimedFrame, image_type, shown_in
from aima_dossier.model import Dossier, DossierFinding, DossierItem, DossierMedium, NearDuplicate
from aima_dossier.timeline import Timeline, timeline

TYPE_NAMES = {MediumType.VIDEO: "Film", MediumType.IMAGE: "Still", MediumType.AUDIO: "Recording"}

KIND_NAMES = {
    "shot": "Shot",
    "voice_activity": "Voices",
    "speech": "Speech",
    "text": "Text",
    "face": "Face",
    "label": "Label",
}

MAX_STATEMENTS = 2000
"""Rows of the table of statements of one medium; more make a page slow, and all of them are in `dossier.json`."""

MAX_TIMES = 12
"""Moments that are listed at once after one label or text; the rest is folded away."""

IMAGE_BUDGET_BYTES = 24 << 20
"""Bytes of large images in one page. What comes after it is shown by its thumbnail."""


@dataclass(frozen=True)
class Moments:
    """Something that was found at several times: what, how sure at best, and when."""

    said: str
    best: float
    findings: tuple[DossierFinding, ...]
    more: tuple[DossierFinding, ...] = ()
    """Further times, folded away until somebody wants them."""


@dataclass(frozen=True)
class FrameView:
    """A frame of a film with the faces in it."""

    time_seconds: float
    uri: str
    faces: tuple[DossierFinding, ...]


@dataclass(frozen=True)
class MediumView:
    """A medium as it is shown."""

    place: int
    """1 for the first; part of its anchors."""
    medium: DossierMedium
    type_name: str
    facts: str
    counts: tuple[str, ...]
    thumbnail: str | None
    preview: str | None
    boxes: tuple[DossierFinding, ...]
    frames: tuple[FrameView, ...]
    timeline: Timeline | None
    shots: tuple[DossierFinding, ...]
    transcript: tuple[DossierFinding, ...]
    texts: tuple[Moments, ...]
    labels: tuple[Moments, ...]
    faces: tuple[Moments, ...]
    duplicates: tuple[tuple[NearDuplicate, "DossierMedium", int], ...]
    copies: tuple[str, ...]
    statements: tuple[DossierFinding, ...]

    @property
    def name(self) -> str:
        """The name it came under first; its hash if it has none."""
        return self.medium.file_names[0] if self.medium.file_names else self.medium.sha256[:12]

    @property
    def timed(self) -> bool:
        """Whether it has a length."""
        return self.medium.duration_seconds is not None


@dataclass(frozen=True)
class ModelUse:
    """A model, and how many statements of the dossier are its."""

    analyzer: str
    model: ModelReference | None
    statements: int


@dataclass(frozen=True)
class PageView:
    """The whole page."""

    dossier: Dossier
    lede: str
    tiles: tuple[tuple[str, str], ...]
    media: tuple[MediumView, ...]
    not_analysed: tuple[DossierItem, ...]
    under_way: tuple[DossierItem, ...]
    models: tuple[ModelUse, ...]


def page(dossier: Dossier, images: Mapping[str, MediumImages]) -> PageView:
    """Lay a dossier out; `images` by medium id."""
    places = {medium.id: place for place, medium in enumerate(dossier.media, start=1)}
    by_id = {medium.id: medium for medium in dossier.media}
    budget = _Budget(IMAGE_BUDGET_BYTES)
    media = tuple(
        _medium_view(medium, places, by_id, images.get(medium.id, MediumImages()), budget) for medium in dossier.media
    )
    return PageView(
        dossier=dossier,
        lede=_lede(dossier),
        tiles=_tiles(dossier),
        media=media,
        not_analysed=tuple(item for item in dossier.items if item.status in ("rejected", "failed", "cancelled")),
        under_way=tuple(
            item for item in dossier.items if item.status in ("accepted", "preparing", "analysing", "fusing")
        ),
        models=_models(dossier.media),
    )


class _Budget:
    """How many bytes of large images may still be put into the page."""

    def __init__(self, size_bytes: int) -> None:
        self._left = size_bytes

    def uri(self, image: bytes | None) -> str | None:
        if image is None or len(image) > self._left:
            return None
        self._left -= len(image)
        return data_uri(image)


def data_uri(image: bytes | None) -> str | None:
    """Write an image so that the page holds it itself; None for what is no image that may be shown."""
    kind = image_type(image)
    return f"data:{kind};base64,{base64.b64encode(image).decode()}" if kind and image else None


def _medium_view(
    medium: DossierMedium,
    places: Mapping[str, int],
    by_id: Mapping[str, DossierMedium],
    images: MediumImages,
    budget: _Budget,
) -> MediumView:
    kinds = _by_kind(medium.findings)
    preview = budget.uri(images.preview) or data_uri(images.thumbnail)
    return MediumView(
        place=places[medium.id],
        medium=medium,
        type_name=TYPE_NAMES[medium.type],
        facts=_facts(medium),
        counts=_counts(medium),
        thumbnail=data_uri(images.thumbnail) or preview,
        preview=preview,
        boxes=_boxes(medium) if medium.type is MediumType.IMAGE else (),
        frames=tuple(_frames(medium, images.frames, budget)),
        timeline=timeline(medium),
        shots=tuple(kinds.get("shot", ())),
        transcript=tuple(kinds.get("speech", ())),
        texts=_moments(sorted(kinds.get("text", ()), key=_reading_order)),
        labels=tuple(sorted(_moments(kinds.get("label", ())), key=lambda one: (-one.best, one.said))),
        faces=tuple(
            Moments(f"Face {place}", face.confidence, (face,))
            for place, face in enumerate(kinds.get("face", ()), start=1)
        ),
        duplicates=tuple((near, by_id[near.medium_id], places[near.medium_id]) for near in medium.near_duplicates),
        copies=tuple(medium.file_names[1:]),
        statements=tuple(medium.findings[:MAX_STATEMENTS]),
    )


def _by_kind(findings: Iterable[DossierFinding]) -> dict[str, list[DossierFinding]]:
    kinds: dict[str, list[DossierFinding]] = {}
    for finding in findings:
        kinds.setdefault(finding.kind, []).append(finding)
    return kinds


def _boxes(medium: DossierMedium) -> tuple[DossierFinding, ...]:
    return tuple(found for found in medium.findings if found.region is not None and found.kind in ("face", "text"))


def _frames(medium: DossierMedium, frames: Sequence[TimedFrame], budget: _Budget) -> Iterator[FrameView]:
    for frame in sorted(frames, key=lambda one: one.time_seconds):
        uri = budget.uri(frame.image)
        if uri:
            yield FrameView(frame.time_seconds, uri, tuple(shown_in(medium, frame)))


def _reading_order(finding: DossierFinding) -> tuple[float, float, float]:
    """Sort by time, then from top to bottom and from left to right, as people read."""
    region = finding.region
    return (finding.start_seconds, region.y if region else 0.0, region.x if region else 0.0)


def _moments(findings: Iterable[DossierFinding]) -> tuple[Moments, ...]:
    """Put the same words together, in the order in which they are first met."""
    same: dict[str, list[DossierFinding]] = {}
    for finding in findings:
        same.setdefault(finding.text or finding.label or "", []).append(finding)
    return tuple(
        Moments(
            said=words,
            best=max(finding.confidence for finding in found),
            findings=tuple(found[:MAX_TIMES]),
            more=tuple(found[MAX_TIMES:]),
        )
        for words, found in same.items()
    )


def _facts(medium: DossierMedium) -> str:
    codecs = " + ".join(codec for codec in (medium.video_codec, medium.audio_codec) if codec)
    duration, rate = medium.duration_seconds, medium.frames_per_second
    parts = [
        wording.length(duration) if duration is not None else "",
        f"{medium.width} × {medium.height}" if medium.width and medium.height else "",
        f"{rate:.4g} frames/s" if rate else "",
        codecs or medium.mime_type,
        wording.size(medium.size_bytes),
    ]
    return " · ".join(wording.plain(part) for part in parts if part)


def _counts(medium: DossierMedium) -> tuple[str, ...]:
    kinds = {kind: len(found) for kind, found in _by_kind(medium.findings).items()}
    told = (
        ("shot", "shot", "shots"),
        ("speech", "line spoken", "lines spoken"),
        ("text", "line of text", "lines of text"),
        ("face", "face", "faces"),
    )
    counts = [wording.counted(kinds[kind], one, many) for kind, one, many in told if kinds.get(kind)]
    if not counts:
        names = [finding.label for finding in medium.findings if finding.kind == "label" and finding.label]
        counts = [wording.plain(name) for name in dict.fromkeys(names)][:2]
    return tuple(counts)


def _lede(dossier: Dossier) -> str:
    """Tell the case in a few sentences, as one would to a colleague."""
    total = dossier.summary
    kinds = ((total.films, "film"), (total.stills, "still"), (total.recordings, "recording"))
    media = wording.listed([wording.spelled(count, one) for count, one in kinds if count])
    playing = f", {wording.length(total.duration_seconds)} to watch and hear" if total.duration_seconds else ""
    refused, running = total.rejected + total.failed, total.running
    same, near = total.exact_duplicates, total.near_duplicates
    sentences = (
        (total.items, f"{wording.spelled(total.items, 'file')} came in."),
        (total.media, f"{media} could be analysed{playing}."),
        (refused, f"{wording.spelled(refused, 'file')} could not, for the reasons given below."),
        (running, f"{wording.spelled(running, 'file')} {_are(running)} still being worked on."),
        (same, f"{wording.spelled(same, 'file')} {_are(same)} an exact copy of another."),
        (near, f"{wording.spelled(near, 'pair')} of media {'shows' if near == 1 else 'show'} the same picture."),
    )
    told = [sentence[0].upper() + sentence[1:] for count, sentence in sentences if count]
    return " ".join(told) or "No file has come in yet."


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def _tiles(dossier: Dossier) -> tuple[tuple[str, str], ...]:
    total = dossier.summary
    return (
        (wording.number(total.media), "media"),
        (wording.clock(total.duration_seconds), "playing time"),
        (wording.number(total.faces), "appearances of faces"),
        (wording.number(total.speech_lines), "lines of speech"),
        (wording.number(total.text_lines), "lines of text"),
        (wording.number(total.exact_duplicates + total.near_duplicates), "duplicates"),
        (wording.number(total.rejected + total.failed), "not analysed"),
    )


def _models(media: Iterable[DossierMedium]) -> tuple[ModelUse, ...]:
    uses: dict[tuple[str, str, str, str], ModelUse] = {}
    for medium in media:
        for finding in medium.findings:
            model = finding.model
            key = (finding.analyzer, *((model.name, model.version, model.sha256) if model else ("", "", "")))
            before = uses.get(key)
            uses[key] = ModelUse(finding.analyzer, model, (before.statements if before else 0) + 1)
    return tuple(use for _, use in sorted(uses.items()))
