"""The proxy that stands between services and stores: every harm it does, next to a connection that nobody harms."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from tests.chaos.proxy import BLACK_HOLE, DROP_REPLIES, PASS, REFUSE, RESET, Fault, Mode, Proxy

Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]
LARGE = bytes(range(256)) * 8192
MOMENT = 0.3
"""Long enough for what is not held up to arrive."""


class Echo:
    """A server that says what it hears, and remembers it."""

    def __init__(self) -> None:
        self.port = 0
        self.heard = bytearray()
        self.more = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                self.heard += data
                self.more.set()
                writer.write(data)
                await writer.drain()
        writer.close()


@pytest.fixture
async def echo() -> AsyncIterator[Echo]:
    server = Echo()
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.port = listening.sockets[0].getsockname()[1]
    yield server
    listening.close()


@pytest.fixture
async def proxy(echo: Echo) -> AsyncIterator[Proxy]:
    async with Proxy.listening(echo.port) as found:
        yield found


@contextlib.asynccontextmanager
async def connected(port: int) -> AsyncIterator[Ends]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def said(ends: Ends, data: bytes) -> bytes:
    """Say something and hear all of it back."""
    ends[1].write(data)
    return await ends[0].readexactly(len(data))


async def silent(ends: Ends) -> bool:
    try:
        async with asyncio.timeout(MOMENT):
            await ends[0].read(1)
    except TimeoutError:
        return True
    return False


async def test_what_is_not_harmed_passes_unchanged_until_both_sides_have_ended(proxy: Proxy) -> None:
    async with connected(proxy.port) as (reader, writer):
        writer.write(LARGE)
        writer.write_eof()
        assert await reader.read(-1) == LARGE
    assert (proxy.accepted, proxy.resets) == (1, 0)


async def test_a_refusing_proxy_resets_old_connections_and_takes_no_new_ones_until_it_is_over(proxy: Proxy) -> None:
    async with connected(proxy.port) as old:
        assert await said(old, b"before") == b"before"
        await proxy.inflict(REFUSE)
        with pytest.raises(ConnectionResetError):
            await old[0].read(1)
    with pytest.raises(ConnectionRefusedError):
        async with connected(proxy.port):
            pytest.fail("somebody listened")
    await proxy.inflict(PASS)
    async with connected(proxy.port) as new:
        assert await said(new, b"after, on the same port") == b"after, on the same port"


async def test_a_black_hole_takes_connections_and_bytes_and_gives_nothing_until_it_is_over(
    proxy: Proxy, echo: Echo
) -> None:
    async with connected(proxy.port) as old, connected(echo.port) as control:
        assert await said(old, b"before") == b"before"
        await proxy.inflict(BLACK_HOLE)
        async with connected(proxy.port) as new:
            for ends in (old, new):
                ends[1].write(b"into the hole")
                assert await silent(ends)
            assert await said(control, b"control") == b"control"
            assert bytes(echo.heard) == b"before" + b"control"
            assert proxy.held_up == 2, "what was said on the old one, and the new one itself"
            await proxy.inflict(PASS)
            for ends in (old, new):
                assert await ends[0].readexactly(13) == b"into the hole"


async def test_what_is_delayed_arrives_after_what_was_said_later_on_a_connection_that_is_not(
    proxy: Proxy, echo: Echo
) -> None:
    order: list[str] = []

    async def speak(ends: Ends, name: str) -> None:
        assert await said(ends, name.encode()) == name.encode()
        order.append(name)

    async with connected(proxy.port) as slow, connected(echo.port) as control:
        await speak(slow, "not yet delayed")
        await proxy.inflict(Fault(delay_seconds=0.2))
        async with asyncio.TaskGroup() as group:
            group.create_task(speak(slow, "delayed"))
            await asyncio.sleep(0.02)
            group.create_task(speak(control, "control"))
    assert order == ["not yet delayed", "control", "delayed"]
    assert proxy.held_up == 2, "there and back"


async def test_through_a_narrow_line_less_has_passed_when_all_has_passed_elsewhere(proxy: Proxy, echo: Echo) -> None:
    await proxy.inflict(Fault(bytes_per_second=100_000))
    async with connected(proxy.port) as narrow, connected(echo.port) as control:
        narrow[1].write(LARGE)
        assert await narrow[0].read(1), "something passes"
        control[1].write(LARGE)
        assert await control[0].readexactly(len(LARGE)) == LARGE
        passed = len(echo.heard) - len(LARGE)
        assert 0 < passed < len(LARGE) / 4
        await proxy.inflict(PASS)
        assert await narrow[0].readexactly(len(LARGE) - 1) == LARGE[1:]


async def test_a_reset_ends_old_connections_and_every_new_one(proxy: Proxy) -> None:
    async with connected(proxy.port) as old:
        assert await said(old, b"before") == b"before"
        await proxy.inflict(RESET)
        with pytest.raises(ConnectionResetError):
            await old[0].read(1)
    async with connected(proxy.port) as new:
        with pytest.raises(ConnectionResetError):
            await said(new, b"nobody hears this")
    assert proxy.resets == 2
    await proxy.inflict(PASS)
    async with connected(proxy.port) as control:
        assert await said(control, b"control") == b"control"


@pytest.mark.parametrize("passing", [0, 1, 7, 100_000])
async def test_a_cut_lets_so_many_bytes_of_a_request_pass_and_no_more(proxy: Proxy, echo: Echo, passing: int) -> None:
    await proxy.inflict(Fault(Mode.CUT, passing_bytes=passing))
    async with connected(proxy.port) as ends:
        ends[1].write(LARGE)
        with pytest.raises(ConnectionResetError):
            await ends[0].readexactly(len(LARGE))
    assert proxy.resets == 1
    await proxy.inflict(PASS)
    async with connected(proxy.port) as control:
        while len(echo.heard) < passing:
            await asyncio.sleep(0.01)
        assert await said(control, b"control") == b"control"
    assert bytes(echo.heard) == LARGE[:passing] + b"control"


async def test_a_request_below_the_cut_passes_whole(proxy: Proxy) -> None:
    await proxy.inflict(Fault(Mode.CUT, passing_bytes=10))
    async with connected(proxy.port) as ends:
        assert await said(ends, b"short") == b"short"


async def test_when_replies_are_dropped_what_was_asked_is_done_and_nobody_hears_of_it(proxy: Proxy, echo: Echo) -> None:
    async with connected(proxy.port) as ends:
        assert await said(ends, b"control") == b"control"
        await proxy.inflict(DROP_REPLIES)
        echo.more.clear()
        with pytest.raises(ConnectionResetError):
            await said(ends, b"do it")
    assert bytes(echo.heard) == b"control" + b"do it"
    assert (proxy.replies_dropped, proxy.unanswered) == (1, [b"do it"])
    await proxy.inflict(PASS)
    async with connected(proxy.port) as again:
        assert await said(again, b"again") == b"again"


async def test_where_the_server_is_away_the_client_is_told_so(echo: Echo) -> None:
    async with Proxy.listening(1) as before_nobody, connected(before_nobody.port) as ends:
        with pytest.raises(ConnectionResetError):
            await said(ends, b"is anybody there?")
    async with Proxy.listening(echo.port) as before_somebody, connected(before_somebody.port) as ends:
        assert await said(ends, b"control") == b"control"
