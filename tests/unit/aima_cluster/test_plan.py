"""Which processes make a cluster, and what each is told."""

from aima_cluster.plan import REPLICAS, plan, ports_needed
from aima_common import settings

STORES = {"AIMA_KAFKA": "127.0.0.1:1"}


def test_every_service_runs_and_analysis_runs_by_lane() -> None:
    members = plan(STORES, range(20000, 20000 + ports_needed(REPLICAS)), "secret")
    assert len(members) == sum(REPLICAS.values()) == len({member.name for member in members})
    assert len({member.service for member in members}) == 10
    lanes = [member.environment["AIMA_LANES"] for member in members if member.service == "analysis"]
    assert sorted(lanes) == sorted(["video", "image", "audio"] * 2)


def test_no_two_processes_share_a_port() -> None:
    members = plan(STORES, range(20000, 20000 + ports_needed(REPLICAS)), "secret")
    taken = [value for member in members for name, value in member.environment.items() if name.endswith("_PORT")]
    assert len(taken) == len(set(taken)) > len(members)


def test_gateways_know_all_uploads_and_only_those_who_need_it_know_the_secret() -> None:
    members = plan(STORES, range(20000, 20000 + ports_needed(REPLICAS)), "secret")
    uploads = {f"http://127.0.0.1:{m.environment['AIMA_UPLOAD_PORT']}" for m in members if m.service == "upload"}
    gateways = [member for member in members if member.service == "gateway"]
    assert all(set(member.environment["AIMA_UPLOAD_URLS"].split(",")) == uploads for member in gateways)
    knowing = {member.service for member in members if "AIMA_INTERNAL_SECRET" in member.environment}
    assert knowing == {"gateway", "upload", "analysis", "scheduler"}
    assert "secret" not in repr(members)


def test_no_process_is_told_a_setting_that_does_not_exist() -> None:
    for member in plan(STORES, range(20000, 20000 + ports_needed(REPLICAS)), "secret", extra={"AIMA_SLOTS": "1"}):
        settings.refuse_unknown(member.environment)
