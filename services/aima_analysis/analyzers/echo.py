"""The smallest analyzer: says that it was given something. Tests use it; it needs no model."""

from typing import ClassVar

from aima_analysis.analyzers import rounding
from aima_analysis.analyzers.analyzer import Analysis, Analyzer, Manifest, Needs, Part
from aima_common.contracts.media import Finding, MediumType


class Echo(Analyzer):
    """Gives one label per picture: the number of its bytes."""

    manifest: ClassVar[Manifest] = Manifest(
        name="echo",
        version="1",
        capability="echo",
        accepts=frozenset({MediumType.VIDEO, MediumType.IMAGE}),
        input="frames",
        needs=Needs(cpus=0.1, memory_bytes=64 * 2**20),
    )

    def analyse(self, part: Part) -> Analysis:
        """Label every picture with its size."""
        findings = [
            Finding(
                kind="label",
                start_seconds=rounding.seconds(frame.time_seconds),
                end_seconds=rounding.seconds(frame.time_seconds),
                label=f"{len(frame.jpeg)} bytes",
                confidence=1.0,
                analyzer=self.manifest.name,
            )
            for frame in part.pictures()
            if part.owns(frame.time_seconds)
        ]
        return Analysis(findings=findings)
