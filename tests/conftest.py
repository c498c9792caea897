"""What the tiers share: which tier a test belongs to, and when a skip counts as a failure."""

import contextlib
import os
from collections.abc import Generator
from pathlib import Path, PurePath

import pytest
from xdist.scheduler import LoadScopeScheduling

HERE = Path(__file__).parent

TIERS_WITH_MEANS = ("connected", "browser")
"""Folders whose tests need something of the machine: each test in them carries the marker of the same name."""


def _tier(path: Path) -> str:
    return path.relative_to(HERE).parts[0] if path.is_relative_to(HERE) else ""


class Companions(LoadScopeScheduling):  # type: ignore[misc]
    """Where several processes share the tests, keeps those together that share what is slow to make."""

    def _split_scope(self, nodeid: str) -> str:
        path = PurePath(nodeid.partition("::")[0])
        if "browser" in path.parts or "journey" in path.parts or "cluster" in path.name:
            return "the demo case"
        if "connected" in path.parts or "contract" in path.parts:
            return "the servers"
        return str(path)


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Companions:
    return Companions(config, log)


def _must_run() -> bool:
    """Tell whether this machine promised to have the means: CI does, a laptop need not."""
    return os.environ.get("CI", "").lower() in {"1", "true", "yes"}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--minio", action="store_true", help="test the S3 plug on MinIO, too; it takes minutes to build")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        tier = _tier(item.path)
        if tier in TIERS_WITH_MEANS:
            item.add_marker(tier)
    chosen = [item for item in items if config.getoption("minio") or not item.get_closest_marker("minio")]
    config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
    items[:] = chosen


def pytest_collection_finish(session: pytest.Session) -> None:
    """Have the servers built that the tests need: it takes longer than the first of them may."""
    wanted = {name for item in session.items for name in _servers_of(item)}
    if not wanted or session.config.option.collectonly:
        return
    from aima_servers import MeansMissingError, fetch

    for name in sorted(wanted):
        # Whoever asks for the server is skipped with the same reason.
        with contextlib.suppress(MeansMissingError):
            fetch(name, report=session.config.get_terminal_writer().line)


def _servers_of(item: pytest.Item) -> set[str]:
    by_fixture = {"s3_server": "s3", "minio_server": "minio"}
    parameters = getattr(item, "callspec", None)
    values = parameters.params.values() if parameters else ()
    named = {value for value in values if isinstance(value, str)} & set(by_fixture.values())
    return named | {by_fixture[fixture] for fixture in getattr(item, "fixturenames", ()) if fixture in by_fixture}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    needy = any(item.get_closest_marker(tier) for tier in TIERS_WITH_MEANS)
    if needy and report.skipped and not hasattr(report, "wasxfail") and _must_run():
        report.outcome = "failed"
        report.longrepr = f"Skipped where nothing may be skipped (CI is set): {_reason(report.longrepr)}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if report.skipped and _tier(collector.path) in TIERS_WITH_MEANS and _must_run():
        report.outcome = "failed"
        report.longrepr = f"Skipped where nothing may be skipped (CI is set): {_reason(report.longrepr)}"
    return report


def _reason(longrepr: object) -> str:
    return str(longrepr[2]) if isinstance(longrepr, tuple) else str(longrepr)
