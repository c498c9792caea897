"""Two tenants with the same files: neither can tell that the other is there; and what the roles of keys allow."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from aima_client.client import Client
from aima_client.errors import ClientError, MissingError, ProblemError, UnauthorizedError
from aima_demo import make_demo_case
from tests.journey.aima_process import RunningAima, calls_of_analyzers

Ask = Callable[[Client], Awaitable[Any]]


@dataclass(frozen=True)
class Tenant:
    """A tenant with an analysed case."""

    name: str
    key: str
    case: str
    media: dict[str, str]
    items: dict[str, str]
    jobs: list[str]
    dossier: dict[str, Any]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def tenants(house: RunningAima, tmp_path_factory: pytest.TempPathFactory) -> tuple[Tenant, Tenant]:
    """Let two tenants analyse the same recording and the same page, one after the other."""
    demo = make_demo_case(tmp_path_factory.mktemp("demo"))
    files = [path for path in demo.files if path.suffix == ".opus" or path.name == Path(demo.answers.page[0]).name]
    assert len(files) == 2
    async with house.client() as operator:
        made = []
        for name in ("red", "blue"):
            key = (await operator.create_key("writer", tenant=name, name=f"of {name}"))["token"]
            made.append(await tenant_of(house, name, key, files))
        calls = await calls_of_analyzers(operator)
    assert set(calls.values()) == {2}, "results are not shared across tenants either"
    return made[0], made[1]


async def tenant_of(house: RunningAima, name: str, key: str, files: list[Path]) -> Tenant:
    async with house.client(key) as client:
        case = (await client.create_case("The same name"))["id"]
        uploads = [await client.upload(case, path) for path in files]
        await client.wait(case)
        return Tenant(
            name,
            key,
            case,
            {upload["file_name"]: upload["medium"] for upload in uploads},
            {upload["file_name"]: upload["item"] for upload in uploads},
            [job["id"] for job in (await client.jobs(case=case))["jobs"]],
            await client.dossier(case),
        )


@pytest.mark.asyncio(loop_scope="module")
async def test_the_same_content_has_other_ids_and_the_same_findings(tenants: tuple[Tenant, Tenant]) -> None:
    red, blue = tenants
    for one, other in ((red.media, blue.media), (red.items, blue.items)):
        assert one.keys() == other.keys()
        assert not set(one.values()) & set(other.values())
    assert red.jobs
    assert not set(red.jobs) & set(blue.jobs)
    assert texts(red.dossier) == texts(blue.dossier)
    assert texts(red.dossier)


def texts(dossier: dict[str, Any]) -> list[str]:
    return sorted(str(f["text"]) for medium in dossier["media"] for f in medium["findings"] if f["text"])


def everything_of(owner: Tenant) -> dict[str, Ask]:
    """List every way to ask for something of a tenant by its id."""
    case, medium, job = owner.case, next(iter(owner.media.values())), owner.jobs[0]
    return {
        "case": lambda c: c.case(case),
        "items": lambda c: c.items(case),
        "dossier": lambda c: c.dossier(case),
        "page": lambda c: c.dossier_page(case),
        "link": lambda c: c.dossier_link(case),
        "case's media": lambda c: c.media(case=case),
        "case's jobs": lambda c: c.jobs(case=case),
        "medium": lambda c: c.medium(medium),
        "findings": lambda c: c.findings(medium),
        "job": lambda c: c.job(job),
        "explanation": lambda c: c.explain(job),
        "thumbnail": lambda c: c.thumbnail(owner.media[picture(owner)]),
        "preview": lambda c: c.preview(owner.media[picture(owner)]),
    }


def picture(owner: Tenant) -> str:
    return next(name for name in owner.media if name.endswith(".png"))


@pytest.mark.asyncio(loop_scope="module")
async def test_whatever_belongs_to_another_tenant_is_not_there(
    house: RunningAima, tenants: tuple[Tenant, Tenant]
) -> None:
    red, blue = tenants
    async with house.client(red.key) as stranger, house.client(blue.key) as owner:
        for what, ask in everything_of(blue).items():
            assert await ask(owner) is not None, f"the control: its owner sees its {what}"
            with pytest.raises(MissingError) as missing:
                await ask(stranger)
            assert blue.name not in str(missing.value), what
        with pytest.raises(MissingError):
            async for _ in stranger.events(blue.case, follow=False):
                pass
        assert [event async for event in owner.events(blue.case, follow=False)]


@pytest.mark.asyncio(loop_scope="module")
async def test_nothing_of_another_tenant_can_be_changed(
    house: RunningAima, tenants: tuple[Tenant, Tenant], tmp_path: Path
) -> None:
    red, blue = tenants
    path = tmp_path / "intruder.txt"
    path.write_bytes(b"an intruder")
    medium = next(iter(blue.media.values()))
    async with house.client() as operator:
        admin = (await operator.create_key("admin", tenant=red.name))["token"]
    async with house.client(admin) as stranger:
        changes: list[Ask] = [
            lambda c: c.upload(blue.case, path),
            lambda c: c.change_case(blue.case, priority="high"),
            lambda c: c.cancel_case(blue.case),
            lambda c: c.cancel_job(blue.jobs[0]),
            lambda c: c.erase(medium),
        ]
        for change in changes:
            with pytest.raises(MissingError):
                await change(stranger)
    async with house.client(blue.key) as owner:
        case = await owner.case(blue.case)
        assert case["state"] == "open"
        assert case["counts"]["items"] == case["counts"]["analysed"] == len(blue.media)
        assert case["options"]["priority"] == "normal"


@pytest.mark.asyncio(loop_scope="module")
async def test_lists_and_searches_show_ones_own_alone(house: RunningAima, tenants: tuple[Tenant, Tenant]) -> None:
    for me in tenants:
        async with house.client(me.key) as client:
            assert [case["id"] for case in (await client.cases())["cases"]] == [me.case]
            assert {medium["id"] for medium in (await client.media())["media"]} == set(me.media.values())
            assert {job["id"] for job in (await client.jobs(limit=500))["jobs"]} >= set(me.jobs)
            assert [dossier["case"] for dossier in (await client.dossiers())["dossiers"]] == [me.case]
            for mode in ("words", "meaning", "both"):
                hits = (await client.search("fail again", mode=mode))["hits"]
                assert hits, (me.name, mode)
                assert {hit["medium"] for hit in hits} <= set(me.media.values())


@pytest.mark.asyncio(loop_scope="module")
async def test_content_that_another_tenant_has_is_not_known(
    house: RunningAima, tenants: tuple[Tenant, Tenant], tmp_path: Path
) -> None:
    path = tmp_path / "of green.txt"
    path.write_bytes(b"only green has this")
    async with house.client() as operator:
        green = (await operator.create_key("writer", tenant="green"))["token"]
    async with house.client(green) as client:
        mine = (await client.create_case("green"))["id"]
        await client.upload(mine, path)
        sizes = {entry["sha256"]: entry["size_bytes"] for entry in tenants[0].dossier["media"]}
        for sha256, size in sizes.items():
            known = {"case": mine, "file_name": "x", "sha256": sha256, "size_bytes": size}
            with pytest.raises(MissingError) as unknown:
                await client._http.send("POST", "/v1/uploads/known", known)
            assert unknown.value.code == "unknown_content"


ROLES = ("reader", "writer", "admin", "operator")
NEEDED: dict[str, tuple[str, Ask]] = {
    "list cases": ("reader", lambda c: c.cases()),
    "search": ("reader", lambda c: c.search("fail", mode="words")),
    "create a case": ("writer", lambda c: c.create_case("made by a role")),
    "list keys": ("admin", lambda c: c.keys()),
    "make a key of one's own role": ("admin", lambda c: c.create_key("reader")),
    "make a key for another tenant": ("operator", lambda c: c.create_key("reader", tenant="yellow")),
}


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("role", ROLES)
async def test_a_key_may_do_what_its_role_says_and_no_more(house: RunningAima, role: str) -> None:
    async with house.client() as operator:
        key = (await operator.create_key(role, tenant="roles"))["token"]
    async with house.client(key) as client:
        for what, (least, ask) in NEEDED.items():
            if ROLES.index(role) >= ROLES.index(least):
                assert await ask(client) is not None, what
                continue
            with pytest.raises(UnauthorizedError) as refused:
                await ask(client)
            assert refused.value.status == 403, what
            assert refused.value.remedy


@pytest.mark.asyncio(loop_scope="module")
async def test_only_an_admin_may_erase(house: RunningAima, tenants: tuple[Tenant, Tenant]) -> None:
    async with house.client(tenants[0].key) as writer:
        with pytest.raises(UnauthorizedError) as refused:
            await writer.erase(next(iter(tenants[0].media.values())))
    assert refused.value.status == 403


@pytest.mark.asyncio(loop_scope="module")
async def test_strangers_and_revoked_keys_are_told_nothing(house: RunningAima, tenants: tuple[Tenant, Tenant]) -> None:
    async with house.client() as operator:
        made = await operator.create_key("reader", tenant="red")
        async with house.client(made["token"]) as reader:
            assert (await reader.case(tenants[0].case))["id"] == tenants[0].case, "the control: the key works"
        await operator.revoke_key(made["id"])
    right = tenants[0].key
    mistyped = right[:-1] + ("y" if right.endswith("x") else "x")
    for key in (made["token"], "", "aima_local_0000", mistyped):
        async with house.client(key) as stranger:
            with pytest.raises(ProblemError) as refused:
                await stranger.case(tenants[0].case)
            assert refused.value.status == 401
            assert isinstance(refused.value, ClientError)
            assert refused.value.remedy
