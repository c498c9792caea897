"""The measurement of decisions, on a fleet small enough to run here: what it counts, not how fast."""

from benchmarks.scheduler.decisions import COLUMNS, Cell, table


def test_a_cell_is_filled_and_every_figure_is_told() -> None:
    cell = Cell(200, 12)
    found = {**cell.run(), **cell.seed_rule()}
    # Of twelve machines of 32 cores; the smallest job takes two.
    assert 12 < found["placed"] <= 12 * 16
    assert set(COLUMNS) <= set(found)
    assert 0 < found["event_p50_ms"] <= found["event_p99_ms"]
    assert len(table({"200x12": found})) == 3


def test_a_fleet_with_room_for_all_takes_all() -> None:
    assert Cell(20, 200).run()["placed"] == 20
