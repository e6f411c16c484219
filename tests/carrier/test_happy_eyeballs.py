"""Hosts with several addresses: the order of attempts, the race, and that one alone gets through."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from quicdist.carrier import AcceptTimeout, Address, PeerUnreachable
from quicdist.carrier import happy_eyeballs as eyeballs
from quicdist.carrier.happy_eyeballs import Candidate, Claim, candidates, interleave, race
from quicdist.carrier.quic import dialling
from quicdist.carrier.quic.carrier import QuicCarrier
from quicdist.carrier.quic.settings import QuicSettings
from quicdist.carrier.tcp.carrier import TcpCarrier
from tests.carrier import quic_support, tcp_peers
from tests.carrier.nodes import FakeNode

#: So long that a test which waits for it hangs.
NEVER = 3600.0


def four(number: int, port: int = 1) -> Candidate:
    return Candidate(socket.AF_INET, (f"127.0.0.{number}", port))


def six(number: int, port: int = 1) -> Candidate:
    return Candidate(socket.AF_INET6, (f"fd00::{number}", port, 0, 0))


class Refused(Exception):
    """One address will not do."""


class Ways:
    """Attempts that end as a table says: by a value, an error, or, with None, never."""

    def __init__(self, ends: dict[Candidate, Any]) -> None:
        self.ends = ends
        self.begun: list[Candidate] = []
        self.called_off: list[Candidate] = []

    async def attempt(self, candidate: Candidate, claim: Claim) -> Any:
        self.begun.append(candidate)
        end = self.ends[candidate]
        if isinstance(end, Exception):
            raise end
        if end is None:
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                self.called_off.append(candidate)
        assert claim()
        return end

    async def race(self, delay: float = NEVER) -> Any:
        return await race(self.attempt, list(self.ends), passing=(Refused,), delay=delay)


def test_families_take_turns_beginning_with_the_resolvers_first() -> None:
    found = [six(1), six(2), four(1), six(1), four(2), four(3)]
    assert interleave(found) == [six(1), four(1), six(2), four(2), four(3)]
    assert interleave([four(1), six(1)]) == [four(1), six(1)]


class TestCandidates:
    async def test_what_is_known_is_not_asked_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", None)
        known = Address("node.example.com", 4433, ("fd00::1", "fd00::2", "10.0.0.1"))
        found = await candidates(known, socket.SOCK_DGRAM)
        assert [str(candidate) for candidate in found] == [
            "[fd00::1]:4433",
            "10.0.0.1:4433",
            "[fd00::2]:4433",
        ]
        assert [str(one) for one in await candidates(Address("::1", 7), socket.SOCK_DGRAM)] == ["[::1]:7"]

    async def test_a_name_is_looked_up(self) -> None:
        found = await candidates(Address("localhost", 7), socket.SOCK_STREAM)
        assert Candidate(socket.AF_INET, ("127.0.0.1", 7)) in found

    def test_known_addresses_are_no_part_of_what_an_address_is(self) -> None:
        assert Address("h", 1, ("10.0.0.1",)) == Address("h", 1)
        assert str(Address("h", 1, ("10.0.0.1",))) == "h:1"


class TestRace:
    async def test_a_single_address(self) -> None:
        assert await Ways({four(1): "got"}).race() == "got"
        with pytest.raises(Refused):
            await Ways({four(1): Refused()}).race()

    async def test_the_first_that_answers_in_time_is_alone(self) -> None:
        ways = Ways({six(1): "six", four(1): "four"})
        assert await ways.race() == "six"
        assert ways.begun == [six(1)]

    async def test_the_next_begins_at_once_when_one_fails(self) -> None:
        ways = Ways({six(1): Refused(), four(1): Refused(), six(2): "got"})
        assert await ways.race() == "got"
        assert ways.begun == [six(1), four(1), six(2)]

    async def test_the_next_begins_after_the_delay_and_the_silent_one_is_called_off(self) -> None:
        ways = Ways({six(1): None, four(1): "got"})
        assert await ways.race(delay=0) == "got"
        assert ways.called_off == [six(1)]

    async def test_all_fail(self) -> None:
        one, two = Refused("one"), Refused("two")
        with pytest.raises(ExceptionGroup) as caught:
            await Ways({six(1): one, four(1): two}).race()
        assert caught.value.exceptions == (one, two)

    async def test_an_error_that_speaks_for_all_ends_the_race(self) -> None:
        ways = Ways({six(1): None, four(1): ValueError("no certificate"), four(2): "got"})
        with pytest.raises(ValueError, match="no certificate"):
            await ways.race(delay=0)
        assert ways.begun == [six(1), four(1)]
        assert ways.called_off == [six(1)]

    async def test_who_is_through_decides_even_if_it_fails_then(self) -> None:
        claims: list[bool] = []
        second_runs = asyncio.Event()

        async def attempt(candidate: Candidate, claim: Claim) -> None:
            if candidate == six(1):
                await second_runs.wait()
                claims.append(claim())
                raise Refused("after the handshake began")
            second_runs.set()
            while not claims:  # noqa: ASYNC110 - whoever lost finds that out by asking
                await asyncio.sleep(0)
            claims.append(claim())
            await asyncio.get_running_loop().create_future()

        with pytest.raises(Refused, match="after the handshake began"):
            await race(attempt, [six(1), four(1), four(2)], passing=(Refused,), delay=0)
        assert claims[0] is True
        assert True not in claims[1:]

    async def test_cancelled_race_leaves_no_attempt(self) -> None:
        ways = Ways({six(1): None, four(1): None})
        racing = asyncio.create_task(ways.race(delay=0))
        while len(ways.begun) < 2:  # noqa: ASYNC110 - both attempts are on
            await asyncio.sleep(0)
        racing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await racing
        assert ways.called_off == [six(1), four(1)]


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """All addresses of a host are tried at the same time."""
    monkeypatch.setattr(eyeballs, "ATTEMPT_DELAY", 0.0)


@contextlib.contextmanager
def silent_udp(host: str, port: int) -> Iterator[socket.socket]:
    """A port that takes datagrams and never answers."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taking:
        taking.bind((host, port))
        yield taking


class TestQuic:
    async def test_an_address_that_is_silent_holds_nobody_up(
        self, settings: QuicSettings, at_once: None
    ) -> None:
        async with quic_support.listening(settings) as server:
            with silent_udp("127.0.0.2", server.address.port) as taking:
                where = Address("server", server.address.port, ("127.0.0.2", "127.0.0.1"))
                carrier = QuicCarrier(settings)
                client = FakeNode("client@127.0.0.1")
                link = await carrier.setup(server.node.name, where, client, setup_time=quic_support.PATIENCE)
                assert link.remote_address == server.address
                peer = await server.link()
                link.close()
                await link.wait_closed()
                await peer.wait_closed()
                assert len(taking.recv(2048)) >= 1200  # it was tried

    async def test_only_one_address_gets_a_handshake_message(
        self, settings: QuicSettings, at_once: None
    ) -> None:
        async with quic_support.listening(settings) as first:
            port = first.address.port
            async with quic_support.listening(settings, host="127.0.0.2", port=port) as second:
                where = Address("server", port, ("127.0.0.1", "127.0.0.2"))
                client = FakeNode("client@127.0.0.1")
                link = await QuicCarrier(settings).setup(
                    first.node.name, where, client, setup_time=quic_support.SETUP_TIME
                )
                winner = first if link.remote_address == first.address else second
                peer = await winner.link()
                link.close()
                await link.wait_closed()
                await peer.wait_closed()
                heard = first.node.requested + second.node.requested
                assert [named.name for named in heard] == ["client@127.0.0.1"]

    async def test_a_lost_attempt_sends_no_name(
        self, settings: QuicSettings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[bool] = []

        def lost() -> bool:
            asked.append(True)
            return False

        async def one_that_loses(attempt: Any, addresses: Any, **_: Any) -> Any:
            return await attempt(addresses[0], lost)

        monkeypatch.setattr(dialling, "race", one_that_loses)
        # The listener waits for the first word until its time is up.
        async with quic_support.listening(settings, setup_time=0.2) as server:
            client = FakeNode("client@127.0.0.1")
            carrier = QuicCarrier(settings)
            dial = asyncio.create_task(
                carrier.setup(server.node.name, server.address, client, setup_time=quic_support.PATIENCE)
            )
            assert isinstance(await server.error(), AcceptTimeout)
            assert asked == [True]
            assert server.node.requested == []
            dial.cancel()
            await asyncio.gather(dial, return_exceptions=True)

    async def test_all_refuse(self, settings: QuicSettings, at_once: None) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
            bound.bind(("127.0.0.3", 0))
            port = bound.getsockname()[1]
        where = Address("server", port, ("127.0.0.1", "127.0.0.2"))
        refused = "connection refused \\(ICMP port unreachable\\)"
        with pytest.raises(
            PeerUnreachable, match=rf"127\.0\.0\.1:\d+: {refused}; 127\.0\.0\.2:\d+: {refused}"
        ):
            await QuicCarrier(settings).setup("server@h", where, FakeNode("a@h"), setup_time=20)


class TestTcp:
    async def test_known_addresses_are_dialled(self, at_once: None) -> None:
        a, b = FakeNode("a@127.0.0.1"), FakeNode("b@127.0.0.1")
        async with tcp_peers.listening() as (carrier, listener, address):
            where = Address("no-such-host.invalid", address.port, ("127.0.0.2", "127.0.0.1"))
            link, peer = await asyncio.gather(
                carrier.setup(b.name, where, a, setup_time=tcp_peers.SETUP_TIME),
                tcp_peers.accept_one(carrier, listener, b),
            )
            assert link.remote_address == address
            for end in (link, peer):
                end.close()
                await end.wait_closed()

    async def test_all_refuse(self, at_once: None) -> None:
        async with tcp_peers.listening() as (_, _, address):
            port = address.port
        where = Address("server", port, ("127.0.0.1", "127.0.0.2"))
        with pytest.raises(PeerUnreachable, match=r"127\.0\.0\.1:\d+: .+; 127\.0\.0\.2:\d+: "):
            await TcpCarrier().setup("b@h", where, FakeNode("a@h"), setup_time=20)
