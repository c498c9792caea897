"""Analyzers that behave badly, for the tests of the inference processes; read by those processes alone."""

import ctypes
import os
import sys
import time
from collections.abc import Mapping
from typing import ClassVar

from aima_analysis.analyzers.analyzer import Analysis, Analyzer, Manifest, Part
from aima_analysis.analyzers.echo import Echo
from aima_common.contracts.media import Finding, MediumType
from aima_common.errors import PermanentError


def manifest(name: str) -> Manifest:
    return Manifest(name, "1", "nothing", frozenset({MediumType.IMAGE}), "picture")


class Hangs(Analyzer):
    manifest: ClassVar[Manifest] = manifest("hangs")

    def analyse(self, part: Part) -> Analysis:
        while True:
            time.sleep(3600)


class Crashes(Analyzer):
    manifest: ClassVar[Manifest] = manifest("crashes")

    def analyse(self, part: Part) -> Analysis:
        os.write(2, b"a native library gives up\n")
        os.abort()


class Raises(Analyzer):
    manifest: ClassVar[Manifest] = manifest("raises")

    def analyse(self, part: Part) -> Analysis:
        raise ZeroDivisionError("of all things")


class Refuses(Analyzer):
    manifest: ClassVar[Manifest] = manifest("refuses")

    def analyse(self, part: Part) -> Analysis:
        raise PermanentError("not this picture", code="not_this", remedy="take another")


class Fills(Analyzer):
    """Fills so many mebibytes of memory with something, as many as the picture says."""

    manifest: ClassVar[Manifest] = manifest("fills")

    def analyse(self, part: Part) -> Analysis:
        filled = [b"x" * 2**20 for _ in range(int(part.picture or b"0"))]
        time.sleep(1.0)
        return label(str(len(filled)))


class Starves(Analyzer):
    """Asks for more memory than the process may map at all."""

    manifest: ClassVar[Manifest] = manifest("starves")

    def analyse(self, part: Part) -> Analysis:
        return label(str(len(bytearray(2**40))))


class Talks(Analyzer):
    """Prints in every way that a library knows."""

    manifest: ClassVar[Manifest] = manifest("talks")

    def analyse(self, part: Part) -> Analysis:
        print("hello from Python")  # noqa: T201
        os.write(1, b"hello from the file descriptor\n")
        ctypes.CDLL(None).puts(b"hello from C")
        sys.stderr.write("x" * 200_000)
        return label("done")


class Names(Analyzer):
    """Says in which process it runs, and how nice that is."""

    manifest: ClassVar[Manifest] = manifest("names")

    def analyse(self, part: Part) -> Analysis:
        time.sleep(0.2)
        return label(f"{os.getpid()} {os.nice(0)}")


def label(text: str) -> Analysis:
    return Analysis(
        findings=[
            Finding(kind="label", start_seconds=0.0, end_seconds=0.0, label=text, confidence=1.0, analyzer="test")
        ]
    )


ANALYZERS: Mapping[str, type[Analyzer]] = {
    "crashes": Crashes,
    "echo": Echo,
    "fills": Fills,
    "hangs": Hangs,
    "names": Names,
    "raises": Raises,
    "refuses": Refuses,
    "starves": Starves,
    "talks": Talks,
}
