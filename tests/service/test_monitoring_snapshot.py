"""What the checker looks at is read whole, and shows what an erasure forgot."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from aima_common import object_keys
from aima_common.contracts.codec import dumps
from aima_common.contracts.media import FindingVector, Result
from aima_common.ports.documents import Change
from aima_common.ports.search import Passage
from aima_common.ports.vectors import Point
from aima_monitoring import snapshot
from aima_monitoring.invariants import check
from tests.service.stage import TENANT, Stage, staged

KEPT = "11111111-1111-5111-8111-111111111111"
GONE = "22222222-2222-5222-8222-222222222222"
RESULT = object_keys.result(TENANT, KEPT, "of-the-kept")
VECTOR = [0.6, 0.8]
CANARIES = {TENANT: ["segmentation"], "somebody else": ["segmentation"]}


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with staged(tmp_path) as found:
        yield found


async def erased(stage: Stage) -> None:
    """Erase a medium in every document, while another one keeps a result with a vector."""
    result = Result(key=RESULT, medium=KEPT, segment=None, analyzer="a", analyzer_version="1", findings=[])
    with_vector = result.model_copy(update={"vectors": [FindingVector(space="images", finding=None, vector=VECTOR)]})
    await stage.ports.objects.put(RESULT, dumps(with_vector.model_dump(mode="json")))
    await stage.ports.vectors.put("images", [Point(KEPT, VECTOR, {"tenant": TENANT, "medium": KEPT})])
    await stage.put("media", KEPT, "stored")
    await stage.put("jobs", "job", "ready", kind="analyse", attempts=1, medium=KEPT, result={"key": RESULT})
    for state in ("leased", "done"):
        await stage.ports.documents.transition("jobs", "job", change=Change(state=state))
    await stage.put("media", GONE, "erased")
    await stage.put("erasures", "erasure", "erased", medium=GONE)


async def test_a_vector_and_a_passage_of_an_erased_medium_are_found(stage: Stage) -> None:
    await erased(stage)
    await stage.ports.vectors.put("images", [Point(GONE, [0.0, -1.0], {"tenant": TENANT, "medium": GONE})])
    await stage.ports.search.index([Passage("p", TENANT, GONE, "text", "image segmentation", 0.0, 1.0)])
    seen = await snapshot.take(stage.ports, read_bytes=True, canaries=CANARIES)
    assert seen.left_behind == [f"passage p of {GONE}", f"images of {GONE}"]
    assert {violation.invariant for violation in check(seen)} == {"I16"}


async def test_where_all_was_forgotten_nothing_is_found(stage: Stage) -> None:
    await erased(stage)
    seen = await snapshot.take(stage.ports, read_bytes=True, canaries=CANARIES)
    assert (seen.left_behind, check(seen)) == ([], [])
