"""The indexes that MongoDB is given: one for each view of the jobs that wait, in the order in which it is read."""

import pytest

from aima_common.adapters.mongo_indexes import indexes
from aima_common.adapters.mongo_pipelines import field_path, matching, ordering
from aima_common.collections import BY_NAME
from aima_common.ports.documents import Range, Where

READY: Where = {"kind": "analyse", "state": "ready", "machine": None}
BATCH: Where = {**READY, "priority": "batch"}
AWAKE: Where = {**BATCH, "resting_until": None}
RESTING: Where = {"machine": None, "state": "ready", "resting_until": Range(at_least="", below="b")}


def follows(key: list[str], where: Where, order: list[str]) -> bool:
    """Tell whether an index leads to what is asked for, already in order: first what is equal, then the order."""
    equal = {field_path(field) for field, wanted in where.items() if not isinstance(wanted, Range)}
    wanted = [path for path, _ in ordering(order)]
    after = [path for path in key[len(equal) :] if path not in equal]
    return set(key[: len(equal)]) == equal and after[: len(wanted)] == wanted


@pytest.mark.parametrize(
    ("where", "order"),
    [
        (READY, ["priority", "resting_until", "submitted_at"]),
        (BATCH, ["resting_until", "submitted_at"]),
        ({**AWAKE, "tenant": Range(at_least="")}, ["tenant", "submitted_at"]),
        ({**AWAKE, "deadline": Range(at_least="")}, ["deadline"]),
        (RESTING, ["resting_until"]),
    ],
)
def test_every_view_of_the_jobs_that_wait_has_an_index_in_its_order(where: Where, order: list[str]) -> None:
    made = [[path for path, _ in index["keys"]] for index in indexes(BY_NAME["jobs"])]
    assert any(follows(key, where, order) for key in made)
    assert not any(follows(key, where, ["finished_at"]) for key in made), "the control"


def test_deadlines_and_rests_are_indexed_where_there_are_any_and_asked_for_as_the_index_has_them() -> None:
    partial = [one["partialFilterExpression"] for one in indexes(BY_NAME["jobs"]) if "partialFilterExpression" in one]
    assert partial == [{"body.deadline": {"$gte": ""}}, {"body.resting_until": {"$gte": ""}}]
    asked = matching({**AWAKE, "deadline": Range(at_least="")})
    assert {"body.deadline": {"$gte": ""}} in asked["$and"]
    assert {"body.resting_until": {"$gte": "", "$lt": "b"}} in matching(RESTING)["$and"]
