"""Reads the pictures that a page shows: posters, thumbnails, and frames of films at telling moments."""

import asyncio
import bisect
from collections.abc import Mapping, Sequence
from typing import Any

from aima_common.abreast import abreast
from aima_common.contracts.derivatives import unpack_frames
from aima_common.contracts.media import SegmentDerivatives
from aima_common.errors import ObjectMissingError
from aima_common.ports import Ports
from aima_dossier.frames import MediumImages, TimedFrame, frame_times
from aima_dossier.model import Dossier, DossierMedium

LARGE = 48
"""Media that are shown large, with frames: a page of hundreds of media has thumbnails for the rest."""

AT_A_TIME = 500
"""So many media are asked for in one question."""


class ImageReader:
    """Reads derivatives only: nothing on a page comes from an original's own bytes."""

    def __init__(self, ports: Ports) -> None:
        self._documents = ports.documents
        self._objects = ports.objects

    async def read(self, dossier: Dossier) -> Mapping[str, MediumImages]:
        """Gather what can be shown of every medium; what was erased meanwhile is left out."""
        shown: dict[str, MediumImages] = {}
        for first in range(0, len(dossier.media), AT_A_TIME):
            some = list(enumerate(dossier.media[first : first + AT_A_TIME], first))
            wanted = {"id": [medium.id for _, medium in some]}
            found = await self._documents.find("preparations", wanted, limit=AT_A_TIME)
            prepared = {one.id: one.body for one in found}

            async def read(
                placed: tuple[int, DossierMedium], prepared: Mapping[str, Mapping[str, Any]] = prepared
            ) -> None:
                place, medium = placed
                shown[medium.id] = await self._of(medium, prepared[medium.id], large=place < LARGE)

            await abreast(read, [one for one in some if one[1].id in prepared])
        return shown

    async def _of(self, medium: DossierMedium, prepared: Mapping[str, Any], *, large: bool) -> MediumImages:
        thumbnail = await self._bytes(prepared.get("thumbnail"))
        if not large:
            return MediumImages(thumbnail=thumbnail)
        segments = [SegmentDerivatives.model_validate(part, strict=False) for part in prepared["segments"]]
        frames = await self._frames(frame_times(medium), segments)
        return MediumImages(await self._bytes(prepared.get("poster")), thumbnail, tuple(frames))

    async def _frames(self, times: Sequence[float], segments: Sequence[SegmentDerivatives]) -> list[TimedFrame]:
        wanted: dict[int, list[float]] = {}
        starts = [part.segment.core_start for part in segments]
        for moment in times:
            wanted.setdefault(max(0, bisect.bisect_right(starts, moment) - 1), []).append(moment)
        found: list[TimedFrame] = []
        for place, moments in sorted(wanted.items()):
            reference = segments[place].frames if place < len(segments) else None
            data = await self._bytes(reference.model_dump() if reference else None)
            if data:
                found += await asyncio.to_thread(_nearest, data, moments)
        return found

    async def _bytes(self, reference: Mapping[str, Any] | None) -> bytes | None:
        if not reference:
            return None
        try:
            return await self._objects.get(reference["key"])
        except ObjectMissingError:
            return None


def _nearest(data: bytes, moments: Sequence[float]) -> list[TimedFrame]:
    """Pick the frame nearest to each moment, each frame once."""
    frames = list(unpack_frames(data))
    if not frames:
        return []
    chosen = {min(frames, key=lambda f, m=moment: abs(f.time_seconds - m)).time_seconds for moment in moments}  # type: ignore[misc]
    return [TimedFrame(frame.time_seconds, frame.jpeg) for frame in frames if frame.time_seconds in chosen]
