"""The web page, in a real browser, on running services."""

import asyncio
import contextlib
import datetime
import hashlib
import io
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from PIL import Image
from playwright.async_api import BrowserContext, Page, async_playwright, expect

from aima_common import wiring
from aima_common.contracts import messages as m
from aima_common.contracts.telling import tell
from aima_common.ports import Ports
from aima_common.ports.documents import Change, Insert
from aima_common.runtime import run
from aima_gateway.keys import Role
from aima_gateway.service import Gateway
from aima_gateway.settings import Settings as GatewaySettings
from aima_upload.service import Upload
from aima_upload.settings import Settings as UploadSettings

CHROMIUM = Path(os.environ.get("AIMA_CHROMIUM", "/usr/bin/chromium"))
pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason=f"there is no browser at {CHROMIUM}")

TIME = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
DOSSIER = (
    b"<!doctype html><title>The dossier</title><style>h1{color:rgb(1,2,3)}</style><h1>It is readable</h1>"
    b"<script>try { document.title = sessionStorage.length } catch { document.title = 'no origin' }</script>"
)


class House:
    """Running services, their stores and a key."""

    def __init__(self, url: str, ports: Ports, key: str, http: aiohttp.ClientSession) -> None:
        self.url, self.ports, self.key, self.http = url, ports, key, http

    async def case(self, name: str, *files: str) -> tuple[str, list[str]]:
        """Make a case with files; return its id and its media."""
        async with self.http.post("/v1/cases", json={"name": name}) as answer:
            case = str((await answer.json())["id"])
        media = []
        for file in files:
            async with self.http.post(
                "/v1/uploads", params={"case": case, "file_name": file}, data=file.encode()
            ) as done:
                media.append(str((await done.json())["medium"]))
        return case, media

    async def run(self, medium: str, state: str, **fields: Any) -> None:
        """Write a run, and tell of it, as the scheduler would."""
        body = {"medium": medium, "accepted_at": TIME.isoformat(), "parts_done": 0, "parts_total": 4, "reason": None}
        await self.ports.documents.insert("runs", Insert(f"run-{medium}", "default", state, {**body, **fields}))
        await self.ports.documents.transition("runs", f"run-{medium}", change=Change(state=state, set=fields))
        told = m.ProgressMade(medium=medium, run="r", stage=state, done=fields.get("parts_done", 0), total=4)
        record = tell(told, tenant="default", key=medium, cause=state + str(fields), time=TIME)
        await self.ports.bus.publish([record])

    async def dossier(self, case: str) -> None:
        """Write a dossier, as the dossier service would."""
        digest = hashlib.sha256(DOSSIER).hexdigest()
        reference = {"key": f"t/default/dossiers/{case}/{digest}.html", "sha256": digest, "size_bytes": len(DOSSIER)}
        await self.ports.objects.put(str(reference["key"]), DOSSIER)
        current = {"version": 1, "complete": True, "items": 1, "html": reference, "json": reference}
        await self.ports.documents.insert(
            "dossiers", Insert(case, "default", "current", {"case": case, "current": current})
        )


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    """Run gateway and upload on a folder of their own."""
    async with wiring.embedded(tmp_path) as ports:
        upload = Upload(ports, UploadSettings(secret="s"))

        async def urls() -> list[str]:
            return [await upload.url()]

        gateway = Gateway(ports, GatewaySettings(secret="s", poll_seconds=0.05), upload_urls=urls)
        life = asyncio.create_task(run(ports, upload, gateway))
        url = await gateway.url()
        token, _ = await gateway.keys.issue("default", Role.writer, "page")
        async with aiohttp.ClientSession(url, headers={"Authorization": f"Bearer {token.text}"}) as http:
            yield House(url, ports, token.text, http)
        life.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await life


@pytest.fixture
async def context(house: House) -> AsyncIterator[BrowserContext]:
    """Open a browser; a page that breaks its own policy, or throws, fails the test."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        context = await browser.new_context(base_url=house.url, viewport={"width": 1000, "height": 800})
        complaints: list[str] = []
        context.on("console", lambda line: complaints.append(line.text) if "Security Policy" in line.text else None)
        context.on("weberror", lambda error: complaints.append(str(error.error)))
        yield context
        await browser.close()
        assert complaints == []


async def enter(context: BrowserContext, house: House) -> Page:
    page = await context.new_page()
    await page.goto("/")
    await page.get_by_label("Your key").fill(house.key)
    await page.get_by_role("button", name="Show my cases").click()
    return page


async def test_the_page_asks_for_a_key_and_says_when_it_is_wrong(context: BrowserContext, house: House) -> None:
    page = await context.new_page()
    await page.goto("/")
    await page.get_by_label("Your key").fill("aima_wrong")
    await page.get_by_role("button", name="Show my cases").click()
    await expect(page.get_by_role("status")).to_have_text("This key is not known here, or was revoked.")
    await page.get_by_label("Your key").fill(house.key)
    await page.get_by_role("button", name="Show my cases").click()
    await expect(page.get_by_role("heading", name="No cases yet")).to_be_visible()
    await page.get_by_role("button", name="Forget the key").click()
    await expect(page.get_by_label("Your key")).to_be_empty()
    assert await page.evaluate("sessionStorage.length") == 0


async def test_a_case_is_followed_while_it_goes_on(context: BrowserContext, house: House) -> None:
    name = "<b>Holiday</b> \u202e[x]"
    _, [one, two] = await house.case(name, "one.jpg", "two<img src=x>.jpg")
    await house.run(one, "analysing", parts_done=1)
    page = await enter(context, house)
    card = page.locator("article")
    await expect(card.get_by_role("heading")).to_have_text(name)
    await expect(card.locator(".counts")).to_have_text("2 files · 2 running")
    await house.run(one, "analysed", parts_done=4)
    reason = {"code": "x", "reason": "it is broken", "remedy": ""}
    await house.run(two, "rejected", reason=reason)
    await expect(card.locator(".counts")).to_have_text("2 files · 1 analysed · 1 rejected")
    await expect(card.locator(".percent")).to_have_text("done")
    await card.get_by_text("Media").click()
    await expect(card.locator(".medium.rejected .file")).to_have_text("two<img src=x>.jpg")
    await expect(card.locator(".medium.rejected .reason")).to_have_text("it is broken")
    assert await page.locator("img[src=x]").count() == 0


async def test_media_show_their_small_pictures(context: BrowserContext, house: House) -> None:
    _, [medium] = await house.case("photos", "one.jpg")
    picture = io.BytesIO()
    Image.new("RGB", (64, 48), (200, 30, 30)).save(picture, "JPEG")
    await house.ports.objects.put("t/default/derivatives/t", picture.getvalue())
    reference = {"key": "t/default/derivatives/t", "sha256": "0" * 64, "size_bytes": 1}
    body = {"medium": medium, "type": "image", "segments": [], "thumbnail": reference}
    await house.ports.documents.insert("preparations", Insert(medium, "default", "prepared", body))
    await house.run(medium, "analysed", parts_done=4)
    page = await enter(context, house)
    await page.get_by_text("Media").click()
    image = page.locator(".medium img")
    await expect(image).to_be_visible()
    assert await image.evaluate("image => image.decode().then(() => image.naturalWidth)") == 64


async def test_a_dossier_opens_and_cannot_reach_the_key(context: BrowserContext, house: House) -> None:
    case, [medium] = await house.case("Holiday", "one.jpg")
    await house.run(medium, "analysed", parts_done=4)
    await house.dossier(case)
    page = await enter(context, house)
    async with context.expect_page() as opening:
        await page.get_by_role("button", name="Open the dossier of Holiday").click()
    dossier = await opening.value
    await expect(dossier.get_by_role("heading")).to_have_text("It is readable")
    await expect(dossier.get_by_role("heading")).to_have_css("color", "rgb(1, 2, 3)")
    await expect(dossier).to_have_title("no origin")
