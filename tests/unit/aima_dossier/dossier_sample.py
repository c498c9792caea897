"""A dossier as a real case might have it, built from parts: the tests' own case.

Everything comes from a seed, so two calls build the same.
"""

import datetime
import functools
import hashlib
import random
import struct
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from aima_common import ids
from aima_common.contracts.media import Confidentiality, FindingKind, MediumType, ModelReference, Probe, Region
from aima_common.contracts.picture import MissingPart, Picture, PictureFinding, PicturePart
from aima_dossier.domain import CaseFacts, CorrectionFacts, ItemFacts, MediumFacts, Relation, assemble
from aima_dossier.frames import MediumImages, TimedFrame, frame_times
from aima_dossier.model import Dossier, Status

WRITTEN_AT = datetime.datetime(2026, 3, 14, 9, 26, 53, tzinfo=datetime.UTC)
TENANT = ids.TenantId("default")
CASE = ids.CaseId("2b0b2d3e-6f0d-4a3b-8b0e-0d6c7c1f5a10")

HOSTILE_NAMES = (
    "<img src=x onerror=alert(1)>.jpg",
    "invoice\u202egpj.exe",
    "two\nlines\tand a bell\x07.png",
    "]]><script>alert('x')</script>{{ 7*7 }}.mp4",
    ("é" * 124 + ".jpeg"),
    "&lt;already&gt; \"quoted\" 'name' \u200b\u2066.wav",
)

SPEECH = (
    "It was the best of times, it was the worst of times,",
    "it was the age of wisdom, it was the age of foolishness,",
    "it was the epoch of belief, it was the epoch of incredulity,",
    "it was the season of Light, it was the season of Darkness,",
    "it was the spring of hope, it was the winter of despair.",
    "We had everything before us, we had nothing before us.",
)


def sha256_of(name: str) -> str:
    return hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()


def model(name: str) -> ModelReference:
    return ModelReference(name=name, version="1.2", sha256=sha256_of(name))


MODELS: dict[str, tuple[str, ModelReference]] = {
    "shot": ("shots", model("TransNetV2")),
    "voice_activity": ("voices", model("Silero VAD")),
    "speech": ("speech", model("Moonshine tiny")),
    "text": ("text", model("PP-OCR")),
    "face": ("faces", model("CenterFace")),
    "label": ("labels", model("EfficientNet-Lite0")),
}


def found(
    kind: FindingKind,
    start: float = 0.0,
    end: float | None = None,
    *,
    text: str | None = None,
    label: str | None = None,
    region: Region | None = None,
    confidence: float = 0.91,
) -> PictureFinding:
    analyzer, reference = MODELS[kind]
    finish = start if end is None else end
    return PictureFinding(
        id=ids.derive("finding", kind, start, finish, text, label, region),
        kind=kind,
        start_seconds=round(start, 6),
        end_seconds=round(finish, 6),
        precision_seconds=0.04 if kind == "shot" else 0.5 if finish else 0.0,
        region=region,
        text=text,
        label=label,
        language="en" if kind in ("speech", "text") else None,
        confidence=confidence,
        analyzer=analyzer,
        model=reference,
        seen_at_seconds=round((start + finish) / 2, 6),
    )


def box(x: float, y: float, width: float, height: float) -> Region:
    return Region(x=x, y=y, width=width, height=height)


@dataclass
class Sample:
    """A case in the making: what `assemble` and `render` are given."""

    name: str = "Two cities, one rocket"
    items: list[ItemFacts] = field(default_factory=list)
    media: list[MediumFacts] = field(default_factory=list)
    relations: list[Relation] = field(default_factory=list)
    corrections: list[CorrectionFacts] = field(default_factory=list)
    images: dict[str, MediumImages] = field(default_factory=dict)

    def add(
        self,
        file_name: str,
        findings: Iterable[PictureFinding],
        probe: Probe,
        *,
        missing: Sequence[MissingPart] = (),
        problems: Sequence[str] = (),
        size_bytes: int = 812_344,
    ) -> str:
        sha256 = sha256_of(file_name)
        medium = ids.medium_id(TENANT, ids.Sha256(sha256))
        ordered = sorted(findings, key=lambda one: (one.start_seconds, one.kind, one.id))
        parts = [
            PicturePart(job=f"job-{name}", analyzer=name, analyzer_version="1", result_key=f"{sha256}-{name}")
            for name in sorted({finding.analyzer for finding in ordered})
        ]
        picture = Picture(
            medium=medium,
            run=ids.run_id(medium, "sample"),
            type=probe.type,
            probe=probe,
            duration_seconds=probe.duration_seconds,
            findings=ordered,
            missing=list(missing),
            parts=parts,
            problems=list(problems),
        )
        self.media.append(MediumFacts(medium, sha256, size_bytes, "analysed", picture))
        self.item(file_name, medium=medium, sha256=sha256, size_bytes=size_bytes)
        return medium

    def item(
        self,
        file_name: str,
        *,
        status: Status = "analysed",
        medium: str | None = None,
        sha256: str | None = None,
        size_bytes: int = 20_480,
        code: str = "",
        reason: str = "",
        remedy: str = "",
    ) -> None:
        ordinal = len(self.items)
        self.items.append(
            ItemFacts(
                id=ids.item_id(CASE, ordinal),
                ordinal=ordinal,
                file_name=file_name,
                size_bytes=size_bytes,
                status=status,
                medium=medium,
                sha256=sha256 or sha256_of(file_name),
                code=code,
                reason=reason,
                remedy=remedy,
            )
        )

    def dossier(self, version: int = 3) -> Dossier:
        return assemble(
            CaseFacts(CASE, self.name, Confidentiality.INTERNAL, WRITTEN_AT - datetime.timedelta(minutes=9)),
            self.items,
            self.media,
            version=version,
            created_at=WRITTEN_AT,
            relations=self.relations,
            corrections=self.corrections,
        )


def still(width: int = 1280, height: int = 960) -> Probe:
    return Probe(
        type=MediumType.IMAGE, mime_type="image/jpeg", container="jpeg", width=width, height=height, has_video=True
    )


def film(seconds: float) -> Probe:
    return Probe(
        type=MediumType.VIDEO,
        mime_type="video/mp4",
        container="mov,mp4,m4a,3gp,3g2,mj2",
        duration_seconds=seconds,
        width=1280,
        height=720,
        frames_per_second=25.0,
        video_codec="h264",
        audio_codec="aac",
        has_video=True,
        has_audio=True,
    )


def recording(seconds: float) -> Probe:
    return Probe(
        type=MediumType.AUDIO,
        mime_type="audio/ogg",
        container="ogg",
        duration_seconds=seconds,
        audio_codec="opus",
        sample_rate=48_000,
        channels=1,
        has_audio=True,
    )


def film_findings(seconds: float, seed: int = 7) -> list[PictureFinding]:
    """Shots, speech, titles, faces and labels all over a film, more of them the longer it is."""
    chance = random.Random(seed)
    findings = []
    start, place = 0.0, 0
    while start < seconds:
        end = min(seconds, start + chance.uniform(4, 11))
        findings.append(found("shot", start, end, confidence=0.97))
        findings.append(
            found("label", start, end, label=chance.choice(["space suit", "espresso", "tabby cat", "missile"]))
        )
        if place % 2 == 0:
            region = box(0.06, 0.8, 0.42, 0.09)
            findings.append(
                found("text", start + 0.5, min(end, start + 4), text=f"SCENE {place + 1}: The city", region=region)
            )
        if place % 3 != 1:
            region = box(chance.uniform(0.2, 0.6), 0.16, 0.16, 0.36)
            findings.append(found("face", start + 0.5, end, region=region, confidence=chance.uniform(0.6, 0.99)))
        start, place = end, place + 1
    at, line = 1.2, 0
    while at < seconds - 4:
        length = chance.uniform(2.5, 4.5)
        findings.append(found("speech", at, at + length, text=SPEECH[line % len(SPEECH)], confidence=0.88))
        findings.append(found("voice_activity", at - 0.2, at + length + 0.2, confidence=0.95))
        at, line = at + length + chance.uniform(0.3, 2), line + 1
    return findings


@functools.cache
def picture_of(seed: int, width: int = 160, height: int = 100) -> bytes:
    """A PNG with soft hills under a sky: bytes that any browser shows."""
    chance = random.Random(seed)
    sky, hill = ([chance.randrange(90, 230) for _ in range(3)] for _ in range(2))
    ridge = [height * (0.5 + 0.2 * ((x * (seed + 3) // 40) % 3 - 1) * (x % 40) / 40) for x in range(width)]
    rows = bytearray()
    for y in range(height):
        rows.append(0)
        for x in range(width):
            shade = 1.0 - 0.35 * y / height
            rows += bytes(int(part * shade) for part in (hill if y > ridge[x] else sky))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(rows), 6)), (b"IEND", b""))
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


def sample() -> Sample:
    """Build the case: stills, a film, recordings, copies, near-duplicates, and what could not be read."""
    case = Sample()
    _add_stills(case)
    _add_film(case)
    _add_recording(case)
    _add_rejected(case)
    return case


def _add_stills(case: Sample) -> None:
    portrait = case.add(
        "astronaut.png",
        [
            found("face", region=box(0.36, 0.12, 0.2, 0.3), confidence=0.994),
            found("label", label="space suit", confidence=0.83),
            found("text", text="NASA", region=box(0.58, 0.55, 0.12, 0.05), confidence=0.97),
        ],
        still(512, 512),
    )
    cup = case.add("coffee.png", [found("label", label="espresso", confidence=0.92)], still(600, 400))
    crop = case.add("coffee, sent by phone.jpg", [found("label", label="espresso", confidence=0.71)], still(480, 320))
    case.relations.append(Relation(crop, cup, 0.8731))
    cat = case.add("chelsea.png", [found("label", label="tabby cat", confidence=0.64)], still(451, 300))
    case.item("IMG_0042.png", medium=cat, sha256=sha256_of("chelsea.png"))
    case.images |= {
        medium: MediumImages(picture_of(seed), picture_of(seed))
        for seed, medium in enumerate((portrait, cup, crop, cat))
    }


def _add_film(case: Sample) -> None:
    long_take = case.add(
        "six pictures and a voice.mp4",
        film_findings(48.0),
        film(48.0),
        size_bytes=3_728_833,
        problems=["12 frames at the end could not be decoded; the film was analysed up to 0:47.9"],
    )
    line = next(one for one in case.media[-1].picture.findings if one.kind == "speech")
    case.corrections.append(
        CorrectionFacts(
            long_take, line.id, "text", "It was the best of times; it was the worst …", "M. Reader", WRITTEN_AT
        )
    )
    times = frame_times(next(one for one in case.dossier().media if one.id == long_take))
    frames = tuple(TimedFrame(at, picture_of(40 + place)) for place, at in enumerate(times))
    case.images[long_take] = MediumImages(frames[0].image, frames[0].image, frames)


def _add_recording(case: Sample) -> None:
    case.add(
        "worstward ho.opus",
        [one for one in film_findings(31.0, seed=3) if one.kind in ("speech", "voice_activity")],
        recording(31.0),
        missing=[
            MissingPart(
                capability="speech",
                reason="the part took longer than its limit twice",
                start_seconds=20,
                end_seconds=31,
            )
        ],
        size_bytes=56_833,
    )


def _add_rejected(case: Sample) -> None:
    case.item(
        "holiday.jpg",
        status="rejected",
        code="unsupported_type",
        size_bytes=178,
        reason="The file is an HTML page, although its name says .jpg.",
        remedy="Send the picture itself, not the page that shows it.",
    )
    case.item(
        "interrupted copy.mp4",
        status="rejected",
        code="truncated",
        size_bytes=2_237_299,
        reason="The film ends before its index, so no frame of it can be found.",
        remedy="Copy it again from its source; the copy was interrupted.",
    )
    case.item(
        "nothing.png",
        status="rejected",
        code="empty",
        size_bytes=0,
        reason="The file is empty.",
        remedy="Send it again.",
    )


def hostile() -> Sample:
    """Build a case whose every word was chosen to do harm."""
    case = Sample(name="<script>alert('case')</script> \u202eesac")
    for place, name in enumerate(HOSTILE_NAMES):
        if place % 2:
            case.add(name, [found("speech", 0.5, 2.0, text=name), found("text", 1.0, 2.0, text=name)], film(9.0))
        else:
            case.add(name, [found("label", label=name), found("text", text=name, region=box(0, 0, 1, 1))], still())
    case.item("</style><b>.bin", status="failed", reason="<b>why</b>\u202e", remedy="<i>what</i>")
    return case
