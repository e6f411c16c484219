"""A node whose address changes keeps its connection, its links and its monitors."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from quicdist.carrier.security.certificates import CertificateFiles
from tests.netns.programs import Program, beam_client, beam_server, client_of, python_server
from tests.netns.spaces import Spaces
from tests.support.beam import erl_facts


async def from_address(client: Program, address: str, word: str) -> None:
    """A message goes to and fro, from that address if not at once then soon."""
    for number in itertools.count():
        client.say(f"{word}{number}")
        line = await client.line()
        assert line.split()[1] == f"{word}{number}", line
        if line.split()[0] == address:
            return
        assert number < 100


async def wander(spaces: Spaces, client: Program, *, far: bool = True) -> None:
    """Another address in the same network; then (``far``), after a time with none, another network."""
    assert await client.line() == "linked"
    await from_address(client, "10.212.0.2", "here")
    spaces.leave(0, 2)
    new = spaces.join(0, 3)
    await from_address(client, new, "moved")
    if not far:
        return
    spaces.ip(spaces.client, "link", "set", "c0", "down")
    client.say("nowhere")
    new = spaces.join(1, 2)
    assert (await client.line()).endswith("nowhere")
    await from_address(client, new, "elsewhere")


async def test_between_python_nodes(spaces: Spaces, certificates: CertificateFiles) -> None:
    async with python_server(spaces, certificates) as server, client_of(spaces) as client:
        await wander(spaces, client)
        client.say("")
        assert await client.line() == "over"
        lines = []
        while not (line := await server.line()).startswith("NodeDown"):
            lines.append(line)
    # One connection, from its first word to its last; it was seen to move.
    assert lines[0].startswith("NodeUp")
    assert not any(line.startswith("Node") for line in lines[1:])
    assert [host for host, _ in itertools.groupby(line.split()[0] for line in lines[1:])] == [
        "10.212.0.2",
        "10.212.0.3",
        "10.213.0.2",
    ]


@pytest.mark.quic_dist
async def test_towards_a_beam(spaces: Spaces, certificates: CertificateFiles, tmp_path: Path) -> None:
    async with beam_server(spaces, certificates, tmp_path) as beam, client_of(spaces) as client:
        # 0.11.0 does not come back from a time without a way in which it had something to send.
        await wander(spaces, client, far=erl_facts()[1] != "0.11.0")
        assert await beam.eval("receive {nodeup, U, _} -> U end") == "'client@127.0.0.1'"
        assert await beam.eval("receive M -> M after 0 -> nothing end") == "nothing"
        client.say("")
        assert await client.line() == "over"
        assert await beam.eval("receive {nodedown, D, _} -> D end") == "'client@127.0.0.1'"


@pytest.mark.quic_dist
async def test_a_beam_that_moves(spaces: Spaces, certificates: CertificateFiles, tmp_path: Path) -> None:
    """As a measurement: quic_dist's own sockets are bound to no address, so the way that the system
    chooses for each datagram is what its peers see."""
    async with (
        python_server(spaces, certificates) as server,
        beam_client(spaces, certificates, tmp_path) as beam,
    ):
        echo = (
            "{echo, 'server@127.0.0.1'} ! {self(), <<W>>}, receive {_, <<W>>} -> ok after 30000 -> none end"
        )
        assert await beam.eval(echo.replace("W", '"here"')) == "ok"
        assert await server.line() == "NodeUp(node='client@127.0.0.1')"
        assert await server.line() == "10.212.0.2 here"
        spaces.ip(spaces.client, "link", "set", "c0", "down")
        spaces.join(1, 2)
        # The packet that brings the first message is what tells the server of the new address.
        for word in "there", "still there":
            assert await beam.eval(echo.replace("W", f'"{word}"')) == "ok"
            if (line := await server.line()) == f"10.213.0.2 {word}":
                break
        assert line == f"10.213.0.2 {word}"
        assert await beam.eval("receive {nodedown, D, _} -> D after 0 -> none end") == "none"
