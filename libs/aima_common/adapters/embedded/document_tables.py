"""The tables behind the embedded documents: SQL, and nothing else.

A collection is a table. What `find` may filter and order by has a column of its own beside the body, so that a change
touches the indexes of what it changes and no others. Rows are numbered as they come, because ids are random: what was
made together lies together, and a commit writes few pages.
"""

import functools
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from aima_common.collections import BY_NAME, COLLECTIONS, Collection
from aima_common.contracts.codec import dumps
from aima_common.ports.documents import LONGEST_LEASE_SECONDS, Range, Where

COLUMNS = "id, tenant, state, epoch, version, holder, lease_until, body"
"""What a document is read from."""

OWN_FIELDS = frozenset({"id", "tenant", "state", "holder", "epoch", "version"})

FIXED = """
CREATE TABLE IF NOT EXISTS inbox(collection TEXT, document TEXT, message TEXT,
    PRIMARY KEY(collection, document, message)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS outbox(sequence INTEGER PRIMARY KEY AUTOINCREMENT, collection TEXT, document TEXT,
    topic TEXT, key TEXT, value BLOB, headers TEXT, written_at REAL);
CREATE TABLE IF NOT EXISTS lines(sequence INTEGER PRIMARY KEY, collection TEXT, number INTEGER, version INTEGER,
    state_before TEXT, state_after TEXT, epoch INTEGER, holder TEXT, inbox TEXT, at REAL, lease_until REAL);
CREATE INDEX IF NOT EXISTS lines_of ON lines(collection, number);
CREATE TABLE IF NOT EXISTS streams(stream TEXT, sequence INTEGER, entry TEXT, body TEXT,
    PRIMARY KEY(stream, sequence), UNIQUE(stream, entry)) WITHOUT ROWID;
"""


@functools.cache
def fields_of(collection: Collection) -> tuple[str, ...]:
    """List the body fields that have a column, each once."""
    unique = (field for fields in collection.unique for field in fields)
    together = (*collection.ordered, *collection.some)
    ordered = (field for fields in together for field in fields if field not in OWN_FIELDS)
    return tuple(dict.fromkeys((*collection.indexes, *unique, *ordered)))


def declared(collection: str) -> Collection:
    """Look a collection up; raise `KeyError` when it is not declared."""
    if collection not in BY_NAME:
        raise KeyError(f"collection {collection!r} is not declared in aima_common.collections")
    return BY_NAME[collection]


def table(collection: str) -> str:
    """Name a collection's table; raise `KeyError` for a collection that is not declared."""
    return f"d_{declared(collection).name}"


def tables() -> str:
    """Write what makes the tables that are missing."""
    own = "number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, tenant TEXT NOT NULL, state TEXT NOT NULL"
    own = f"{own}, epoch INTEGER, version INTEGER, holder TEXT, lease_until REAL, body TEXT"
    lines = []
    for collection in COLLECTIONS:
        columns = "".join(f", {_own_column(field)}" for field in fields_of(collection))
        lines.append(f"CREATE TABLE IF NOT EXISTS {table(collection.name)}({own}{columns});")
    return FIXED + "\n".join(lines)


def complete(c: sqlite3.Connection) -> None:
    """Give tables the columns and indexes that they lack, filled from the bodies; take over a file from before."""
    present = {row[0] for row in c.execute("SELECT name FROM sqlite_master WHERE type='table'")}
    for collection in COLLECTIONS:
        name = table(collection.name)
        columns = {row[1] for row in c.execute(f"PRAGMA table_info({name})")}
        for field in fields_of(collection):
            if _own_column(field) not in columns:
                c.execute(f"ALTER TABLE {name} ADD COLUMN {_own_column(field)}")
                c.execute(f"UPDATE {name} SET {_own_column(field)} = {_extracted(field)}")  # noqa: S608
        if f"c_{collection.name}" in present:
            _take_over(c, collection, with_history="history" in present)
        _index(c, collection)
    c.execute("DROP TABLE IF EXISTS history")


def _index(c: sqlite3.Connection, collection: Collection) -> None:
    """Make the indexes that are missing; drop those that are wanted otherwise now, or not any more."""
    wanted = _indexes(collection)
    query = "SELECT name, sql FROM sqlite_master WHERE type='index' AND tbl_name=? AND sql IS NOT NULL"
    for name, made_by in c.execute(query, (table(collection.name),)).fetchall():
        if made_by not in wanted:
            c.execute(f"DROP INDEX {name}")
    present = {row[1] for row in c.execute(query, (table(collection.name),))}
    for statement in wanted:
        if statement not in present:
            c.execute(statement)


def _take_over(c: sqlite3.Connection, collection: Collection, *, with_history: bool) -> None:
    """Move the documents of the first kind of tables, which were in the order of their random ids."""
    name, former = table(collection.name), f"c_{collection.name}"
    columns = "".join(f", {_own_column(field)}" for field in fields_of(collection))
    values = "".join(f", {_extracted(field)}" for field in fields_of(collection))
    c.execute(f"INSERT INTO {name}({COLUMNS}{columns}) SELECT {COLUMNS}{values} FROM {former}")  # noqa: S608
    if with_history:
        facts = "version, state_before, state_after, epoch, holder, inbox, at, lease_until"
        of_history = ", ".join(f"h.{fact}" for fact in facts.split(", "))
        c.execute(
            f"INSERT INTO lines(sequence, collection, number, {facts}) "  # noqa: S608
            f"SELECT h.sequence, h.collection, d.number, {of_history} "
            f"FROM history h JOIN {name} d ON d.id = h.document WHERE h.collection = ?",
            (collection.name,),
        )
    c.execute(f"DROP TABLE {former}")


def _indexes(collection: Collection) -> list[str]:
    name = table(collection.name)
    wanted: dict[str, tuple[str, ...]] = {f"{name}_state": ("state", "lease_until")}
    # Without the state: it changes most often, and of those that share a value there are few.
    wanted |= {f"{name}_on_{_own_column(field)}": (_own_column(field),) for field in collection.indexes}
    for number, (first, *others) in enumerate(collection.ordered):
        of = [column(collection.name, field) for field in (first, "state", *others)]
        wanted[f"{name}_ordered_{number}"] = tuple(of)
    statements = [f"CREATE INDEX {one} ON {name}({', '.join(of)})" for one, of in wanted.items()]
    for number, (first, *others) in enumerate(collection.some):
        of = [column(collection.name, field) for field in (first, "state", *others, "id")]
        only = f"{column(collection.name, others[-1])} IS NOT NULL"
        statements.append(f"CREATE INDEX {name}_some_{number} ON {name}({', '.join(of)}) WHERE {only}")
    for number, fields in enumerate(collection.unique):
        columns = ", ".join(map(_own_column, fields))
        statements.append(f"CREATE UNIQUE INDEX {name}_once_{number} ON {name}({columns})")
    return statements


@functools.cache
def insertion(collection: str) -> str:
    """Write the statement that adds a document: its own columns, then those of its fields."""
    fields = fields_of(declared(collection))
    columns = "".join(f", {_own_column(field)}" for field in fields)
    marks = ",".join("?" * (COLUMNS.count(",") + 1 + len(fields)))
    return f"INSERT INTO {table(collection)}({COLUMNS}{columns}) VALUES ({marks})"  # noqa: S608


def values_of(collection: str, body: Mapping[str, Any]) -> list[Any]:
    """Give the values of a body's columns, as JSON functions would extract them."""
    return [_value(body, field) for field in fields_of(declared(collection))]


def changed(collection: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """Give the columns whose values differ between two bodies, with the new values."""
    differing = {}
    for field in fields_of(declared(collection)):
        value = _value(after, field)
        if value != _value(before, field):
            differing[_own_column(field)] = value
    return differing


def _value(body: Any, field: str) -> Any:
    for name in field.split(".") if "." in field else (field,):
        body = body.get(name) if isinstance(body, dict) else None
    if body is None or isinstance(body, str):
        return body
    # A truth value becomes a number, as SQLite's own functions have it.
    return body + 0 if isinstance(body, int | float) else dumps(body).decode()


@functools.cache
def column(collection: str, field: str) -> str:
    """Tell what stands for a field in a query."""
    if field in OWN_FIELDS:
        return field
    if not field.replace("_", "").replace(".", "").isalnum():
        raise ValueError(f"{field!r} is not a field name")
    return _own_column(field) if field in fields_of(declared(collection)) else _extracted(field)


def _own_column(field: str) -> str:
    return "f_" + field.replace(".", "_")


def _extracted(field: str) -> str:
    return f"json_extract(body, '$.{field}')"


def condition(collection: str, where: Where) -> tuple[str, list[Any]]:
    """Write a `Where` as a condition and its values."""
    clauses, values = ["1"], list[Any]()
    selective = any(field in where and not isinstance(where[field], Range) for field in declared(collection).indexes)
    for field, wanted in where.items():
        # Unary plus: SQLite shall look up the few with this value, not the many in this state.
        name = "+state" if field == "state" and selective else column(collection, field)
        if isinstance(wanted, Range):
            bounds = [(">=", wanted.at_least), ("<", wanted.below)]
            for sign, bound in bounds:
                if bound is not None:
                    clauses.append(f"{name} {sign} ?")
                    values.append(bound)
        elif isinstance(wanted, list | tuple | set | frozenset):
            clauses.append(f"{name} IN ({','.join('?' * len(wanted))})")
            values += list(wanted)
        elif wanted is None:
            clauses.append(f"{name} IS NULL")
        else:
            clauses.append(f"{name} = ?")
            values.append(wanted)
    return " AND ".join(clauses), values


def selection(
    collection: str, where: Where, order: Sequence[str], *, expired_at: float | None = None
) -> tuple[str, list[Any]]:
    """Write the query for documents that match, and its values but for the last, the limit."""
    clause, values = condition(collection, where)
    if expired_at is not None:
        clause = f"{clause} AND (lease_until < ? OR lease_until > ?)"
        values = [*values, expired_at, expired_at + LONGEST_LEASE_SECONDS]
    keys = [(column(collection, field.removeprefix("-")), field.startswith("-")) for field in (*order, "id")]
    ordered = ", ".join(f"{name} DESC" if descending else name for name, descending in keys)
    query = f"SELECT {COLUMNS} FROM {table(collection)} WHERE {clause} ORDER BY {ordered} LIMIT ?"  # noqa: S608
    return query, values
