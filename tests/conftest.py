"""What the tiers share: which tier a test belongs to, and when a skip counts as a failure."""

import os
from collections.abc import Generator
from pathlib import Path

import pytest

HERE = Path(__file__).parent

TIERS_WITH_MEANS = ("connected", "browser")
"""Folders whose tests need something of the machine: each test in them carries the marker of the same name."""


def _tier(path: Path) -> str:
    return path.relative_to(HERE).parts[0] if path.is_relative_to(HERE) else ""


def _must_run() -> bool:
    """Tell whether this machine promised to have the means: CI does, a laptop need not."""
    return os.environ.get("CI", "").lower() in {"1", "true", "yes"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        tier = _tier(item.path)
        if tier in TIERS_WITH_MEANS:
            item.add_marker(tier)


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
