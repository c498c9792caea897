"""The tables of the embedded store: what is asked all the time is answered from an index, and old files are kept."""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest

from aima_common.adapters.embedded import document_tables as tables
from aima_common.collections import BY_NAME
from aima_common.contracts.codec import dumps
from aima_common.ports.documents import Range

SORTS = "TEMP B-TREE"


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:")
    yield connection
    connection.close()


@pytest.fixture
def fresh(connection: sqlite3.Connection) -> sqlite3.Connection:
    connection.executescript(tables.tables())
    tables.complete(connection)
    return connection


def plan(c: sqlite3.Connection, collection: str, where: Mapping[str, Any], order: Sequence[str] = ()) -> str:
    query, values = tables.selection(collection, where, order)
    return "; ".join(row[3] for row in c.execute(f"EXPLAIN QUERY PLAN {query}", [*values, 100]))


READY = {"kind": "analyse", "state": "ready"}
AGE = ["priority", "resting_until", "submitted_at"]
CROWDED = {"machine": None, "priority": "batch"}
AWAKE = {**CROWDED, "resting_until": None}


@pytest.mark.parametrize(
    ("where", "order", "index"),
    [
        ({"machine": None}, AGE, "ordered_0"),
        ({"machine": "m", "lane": ["video", "image"]}, AGE, "ordered_0"),
        (CROWDED, AGE[1:], "ordered_0"),  # also what a gateway asks for, to see how far behind the work is
        ({**AWAKE, "tenant": Range(at_least="")}, ["tenant", "submitted_at"], "ordered_1"),
        ({**AWAKE, "tenant": "one"}, ["submitted_at"], "ordered_1"),
        ({**AWAKE, "tenant": Range(at_least="a", below="b")}, ["tenant", "submitted_at"], "ordered_1"),
        ({**AWAKE, "deadline": Range(at_least="")}, ["deadline"], "some_0"),
    ],
)
def test_ready_jobs_are_found_in_their_order_without_looking_at_all_of_them(
    fresh: sqlite3.Connection, where: dict[str, Any], order: list[str], index: str
) -> None:
    found = plan(fresh, "jobs", {**READY, **where}, order)
    assert f"INDEX d_jobs_{index} (f_kind=? AND state=? AND f_machine=?" in found
    assert all(f"{column}=?" in found or f"{column}>?" in found for column in columns_of(where))
    assert SORTS not in found
    assert SORTS in plan(fresh, "jobs", {**READY, **where}, ["finished_at"])


@pytest.mark.parametrize(
    ("until", "bounds"),
    [
        (Range(at_least="", below="b"), "f_resting_until>? AND f_resting_until<?"),
        (Range(at_least="a"), "f_resting_until>?"),
    ],
)
def test_whose_rest_is_over_is_looked_up_among_however_many_rest(
    fresh: sqlite3.Connection, until: Range, bounds: str
) -> None:
    found = plan(fresh, "jobs", {"machine": None, "state": "ready", "resting_until": until}, ["resting_until"])
    assert f"INDEX d_jobs_some_1 (f_machine=? AND state=? AND {bounds})" in found
    assert SORTS not in found


def columns_of(where: Mapping[str, Any]) -> list[str]:
    """List what has to be looked up, rather than looked at: not the lane, of which a machine has few."""
    return [tables.column("jobs", field) for field in where if field != "lane"]


def test_what_is_on_machines_is_looked_up_among_however_many_wait(fresh: sqlite3.Connection) -> None:
    found = plan(fresh, "jobs", {"kind": "analyse", "machine": ["a", "b"], "state": ["ready", "leased"]})
    assert "(f_kind=? AND state=? AND f_machine=?)" in found


def test_an_index_that_is_wanted_otherwise_is_made_anew_and_one_that_is_not_wanted_goes(
    connection: sqlite3.Connection,
) -> None:
    connection.executescript(tables.tables())
    connection.execute("CREATE INDEX d_jobs_ordered_0 ON d_jobs(f_kind, state)")
    connection.execute("CREATE INDEX d_jobs_on_f_lane ON d_jobs(f_lane)")
    for _ in range(2):
        tables.complete(connection)
    made = dict(connection.execute("SELECT name, sql FROM sqlite_master WHERE type='index'").fetchall())
    assert "f_machine" in made["d_jobs_ordered_0"]
    assert "d_jobs_on_f_lane" not in made
    assert "d_jobs_on_f_medium" in made


def test_the_few_of_a_medium_are_looked_up_rather_than_the_many_in_a_state(fresh: sqlite3.Connection) -> None:
    assert "d_runs_on_f_medium" in plan(fresh, "runs", {"medium": "m", "state": "analysed"})
    assert "d_runs_state" in plan(fresh, "runs", {"state": "analysed"})


def test_a_body_gives_the_values_that_sqlite_would_extract(fresh: sqlite3.Connection) -> None:
    body = {"kind": 1, "medium": 2.5, "submitted_at": True, "priority": None, "machine": {"b": [1, "x"]}, "lane": "a"}
    values = tables.values_of("jobs", body)
    extracted = [
        fresh.execute("SELECT json_extract(?, ?)", (dumps(body).decode(), f"$.{field}")).fetchone()[0]
        for field in tables.fields_of(BY_NAME["jobs"])
    ]
    assert values == extracted
    assert [type(value) for value in values] == [type(value) for value in extracted]


def test_only_columns_whose_values_differ_are_written() -> None:
    before = {"kind": "fuse", "run": "r", "attempts": 0, "machine": None}
    assert tables.changed("jobs", before, {**before, "attempts": 1}) == {}
    assert tables.changed("jobs", before, {**before, "machine": "m"}) == {"f_machine": "m"}


def test_a_file_from_before_keeps_its_documents_and_their_histories(connection: sqlite3.Connection) -> None:
    own = "id TEXT PRIMARY KEY, tenant TEXT, state TEXT, epoch INTEGER, version INTEGER, holder TEXT, lease_until REAL"
    connection.executescript(
        f"""
        CREATE TABLE c_runs({own}, body TEXT) WITHOUT ROWID;
        CREATE INDEX c_runs_by_medium ON c_runs(json_extract(body, '$.medium'), state);
        CREATE TABLE history(sequence INTEGER PRIMARY KEY, collection TEXT, document TEXT, version INTEGER,
            state_before TEXT, state_after TEXT, epoch INTEGER, holder TEXT, inbox TEXT, at REAL, lease_until REAL);
        INSERT INTO c_runs VALUES ('r', 't', 'analysed', 3, 2, NULL, NULL, '{{"medium":"m","accepted_at":"x"}}');
        INSERT INTO history VALUES (7, 'runs', 'r', 1, NULL, 'accepted', 0, NULL, 'i', 1.5, NULL);
        INSERT INTO history VALUES (9, 'runs', 'r', 2, 'accepted', 'analysed', 3, 'h', NULL, 2.5, 32.5);
        """
    )
    connection.executescript(tables.tables())
    for _ in range(2):
        tables.complete(connection)
    query, values = tables.selection("runs", {"medium": "m"}, ())
    (row,) = connection.execute(query, [*values, 10]).fetchall()
    assert row == ("r", "t", "analysed", 3, 2, None, None, '{"medium":"m","accepted_at":"x"}')
    lines = connection.execute("SELECT * FROM lines ORDER BY sequence").fetchall()
    assert lines == [
        (7, "runs", 1, 1, None, "accepted", 0, None, "i", 1.5, None),
        (9, "runs", 1, 2, "accepted", "analysed", 3, "h", None, 2.5, 32.5),
    ]
    names = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
    assert "d_runs_on_f_medium" in names
    assert not names & {"c_runs", "c_runs_by_medium", "history"}


def test_a_field_that_is_searched_since_lately_gets_a_column_that_is_filled(fresh: sqlite3.Connection) -> None:
    body = '{"medium":"m","accepted_at":"x"}'
    fresh.execute("INSERT INTO d_runs(id, tenant, state, body) VALUES ('r', 't', 'analysed', ?)", (body,))
    for statement in ("DROP INDEX d_runs_on_f_medium", "ALTER TABLE d_runs DROP COLUMN f_medium"):
        fresh.execute(statement)
    tables.complete(fresh)
    query, values = tables.selection("runs", {"medium": "m"}, ())
    assert [row[0] for row in fresh.execute(query, [*values, 10])] == ["r"]
    assert "d_runs_on_f_medium" in plan(fresh, "runs", {"medium": "m"})


def test_a_collection_or_a_field_that_cannot_be_is_refused() -> None:
    with pytest.raises(KeyError, match="'dreams' is not declared"):
        tables.selection("dreams", {}, ())
    with pytest.raises(ValueError, match="is not a field name"):
        tables.selection("jobs", {"a'; DROP": 1}, ())
