"""The baseline of `benchmarks.pipeline`: the same decoders, derivatives, sampling and analyzers, and nothing else.

One process per core takes files from a list, decodes, analyses and forgets: no store, no bus, no
leases, no sandbox, no HTTP. What it does in the time is what the machine can do.
"""

import multiprocessing
import os
import time
from collections.abc import Sequence
from multiprocessing.queues import SimpleQueue
from pathlib import Path

from aima_common.contracts.media import MediumType


def run(paths: Sequence[Path], processes: int) -> float:
    """Analyse the files and give the seconds from the first file to the last finding."""
    # Before the workers import anything: one thread each, as in AIMA's own processes, or they fight for the cores.
    os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))
    context = multiprocessing.get_context("spawn")
    work: SimpleQueue[Path | None] = context.SimpleQueue()
    ready: SimpleQueue[bool] = context.SimpleQueue()
    done: SimpleQueue[int] = context.SimpleQueue()
    workers = [context.Process(target=_work, args=(work, ready, done)) for _ in range(processes)]
    for worker in workers:
        worker.start()
    for _ in workers:
        ready.get()
    # The longest first, as any sensible loop would: a film at the end would leave the other core idle.
    ordered = sorted(paths, key=lambda path: -path.stat().st_size)
    started = time.perf_counter()
    for path in [*ordered, *[None] * processes]:
        work.put(path)
    for _ in workers:
        done.get()
    seconds = time.perf_counter() - started
    for worker in workers:
        worker.join()
    return seconds


def _work(work: "SimpleQueue[Path | None]", ready: "SimpleQueue[bool]", done: "SimpleQueue[int]") -> None:
    import cv2

    cv2.setNumThreads(1)
    analyse = _Analysis()
    ready.put(True)
    findings = 0
    while (path := work.get()) is not None:
        findings += analyse.file(path)
    done.put(findings)


class _Analysis:
    """All analyzers, called one after the other in this process."""

    def __init__(self) -> None:
        from aima_analysis.analyzers import chosen
        from aima_analysis.inference_models import LoadedModels
        from aima_models.store import ModelStore

        models = LoadedModels(ModelStore())
        self._analyzers = [analyzer(models) for analyzer in chosen(None)]

    def file(self, path: Path) -> int:
        from aima_preprocessing import sniff
        from aima_preprocessing.decoding.content import label_of
        from aima_preprocessing.decoding.medium import DecodePlan, decode_medium
        from aima_preprocessing.decoding.source import NamelessFile
        from aima_preprocessing.events import Finished, Probed, SegmentDecoded
        from aima_preprocessing.limits import Limits
        from aima_preprocessing.segmentation import SegmentPlan

        with path.open("rb") as opened:
            file = NamelessFile(opened.fileno())
            kind = sniff.sniff(file.read_at(sniff.HEAD_BYTES, 0), file.size_bytes) or sniff.kind_of_label(
                *label_of(file)
            )
            plan = DecodePlan(Limits(), SegmentPlan())
            found, medium_type = 0, MediumType.IMAGE
            for event in decode_medium(file, kind, plan, lambda _seconds, _pixels: None):
                match event:
                    case Probed(probe):
                        medium_type = probe.type
                    case SegmentDecoded():
                        blobs = {"frames": event.frames, "thumbnails": event.thumbnails, "sound": event.sound}
                        found += self._part(medium_type, event.segment, blobs)
                    case Finished() if event.picture is not None:
                        found += self._part(medium_type, None, dict.fromkeys(("frames", "picture"), event.picture))
        return found

    def _part(self, medium_type: MediumType, segment: object, blobs: dict[str, bytes | None]) -> int:
        from aima_analysis.parts import part_of

        found = 0
        for analyzer in self._analyzers:
            manifest = analyzer.manifest
            blob = blobs.get(manifest.input)
            if medium_type in manifest.accepts and blob is not None:
                part = part_of(manifest.input, medium_type, segment, [blob])  # type: ignore[arg-type]
                found += len(analyzer.analyse(part).findings)
        return found
