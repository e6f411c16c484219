"""A peer that misbehaves after the cookie was proved harms only its own connection."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterator

import pytest

from quicdist import GenServer, Process
from quicdist.carrier import LinkLost
from quicdist.node.dial_queue import PROVOKED_SIGNALS
from quicdist.protocol import (
    UNUSED,
    AliasSend,
    AltactSigSend,
    ControlMessage,
    DemonitorP,
    Exit2,
    GroupLeader,
    Link,
    MonitorP,
    PayloadExit,
    PayloadExit2,
    PayloadMonitorPExit,
    RegSend,
    SendSender,
    SpawnReply,
    SpawnRequest,
    UnlinkId,
    UnlinkIdAck,
)
from quicdist.term import Atom, BitString, Export, ImproperList, Map, Pid, Reference
from tests.support.scripted_peer import PEER, ScriptedPeer, scripted_peer, tcp_node
from tests.support.virtual_time import in_virtual_time

#: Nobody's.
MADE_UP = Pid("nobody@made-up.invalid", 1, 0, 1)
MADE_UP_REF = Reference("nobody@made-up.invalid", (1, 2, 3), 1)
MIB = 1024 * 1024


@pytest.fixture
def records() -> Iterator[list[logging.LogRecord]]:
    """All that is logged at WARNING and above, and what asyncio says."""
    seen: list[logging.LogRecord] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(record)

    handler = Keep(logging.WARNING)
    loggers = [logging.getLogger(name) for name in ("quicdist", "asyncio")]
    for logger in loggers:
        logger.addHandler(handler)
    yield seen
    for logger in loggers:
        logger.removeHandler(handler)


async def answered(peer: ScriptedPeer, seconds: float = 5.0) -> None:
    """``net_kernel`` answers within so long."""
    asker, reference = peer.pid(), peer.reference()
    tag = ImproperList([Atom("alias")], reference)
    peer.tell("net_kernel", (Atom("$gen_call"), (asker, tag), (Atom("is_auth"), Atom(PEER))), asker)
    async with asyncio.timeout(seconds):
        while True:
            _, payload = await peer.inbox.get()
            if isinstance(payload, tuple) and payload == (tag, Atom("yes")):
                return


# -- signals in the name of others -----------------------------------------------------------


def forged(node: str) -> list[ControlMessage]:
    victim = Pid(node, 1, 0, 1)
    theirs = Reference(Atom(PEER), (1, 2, 3), 1)
    mine = Pid(PEER, 1, 0, 1)
    return [
        Link(MADE_UP, victim),
        UnlinkId(1, MADE_UP, victim),
        UnlinkIdAck(1, MADE_UP, victim),
        PayloadExit(MADE_UP, victim),
        PayloadExit2(MADE_UP, victim),
        Exit2(MADE_UP, victim, bytes(5 * MIB)),
        MonitorP(MADE_UP, Atom("net_kernel"), theirs),
        MonitorP(mine, Atom("net_kernel"), MADE_UP_REF),
        DemonitorP(MADE_UP, Atom("net_kernel"), theirs),
        DemonitorP(mine, Atom("net_kernel"), MADE_UP_REF),
        SpawnRequest(theirs, MADE_UP, MADE_UP, (Atom("m"), Atom("f"), 0), []),
        SpawnRequest(MADE_UP_REF, mine, mine, (Atom("m"), Atom("f"), 0), []),
    ]


@pytest.mark.parametrize("number", range(len(forged("a@b"))))
async def test_a_forged_signal_ends_the_link_with_one_line(
    number: int, records: list[logging.LogRecord]
) -> None:
    async with tcp_node() as node, scripted_peer(node) as peer:
        control = forged(node.name)[number]
        payload = (bytes(5 * MIB),) if control.has_payload else ()
        down = asyncio.Event()
        node.subscribe(lambda event: down.set())
        peer.send(control, *payload)
        peer.send(control, *payload)
        assert isinstance(await peer.inbox.end(), LinkLost)
        async with asyncio.timeout(30):
            await down.wait()
        (line,) = records
        assert f"sent {control.op.name} with" in line.getMessage()
        assert "nobody@made-up.invalid" in line.getMessage()
        assert len(line.getMessage()) < 1000
        assert line.exc_info is None
        # And it may come again.
        async with scripted_peer(node) as again:
            await answered(again)


async def test_the_sender_of_a_message_is_not_checked() -> None:
    """As in OTP, which takes any pid there (``dist.c``)."""
    async with tcp_node() as node, scripted_peer(node) as peer:
        box: asyncio.Queue[object] = asyncio.Queue()
        process = node.spawn(lambda process, message: box.put_nowait(message), name="box")
        peer.send(RegSend(MADE_UP, UNUSED, Atom("box")), 1)
        peer.send(SendSender(MADE_UP, process.pid), 2)
        async with asyncio.timeout(30):
            assert [await box.get() for _ in range(2)] == [1, 2]
        await answered(peer)


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"x",
        b"\x83",
        b"\x83D\0",
        b"\x83D\0h\0",
        b"\x83D\x01\0",
        b"\x83D\0h\x01a\x63",
        b"\x83D\0" + b"l\xff\xff\xff\xff",
        b"\x83D\0" + b"h\x02a\x01" * 1000,
        b"\x83D\0h\x04a\x06jjj",
        b"\x83D\0h\x03a\x01a\x01a\x01",
        b"\x83F" + bytes(16),
        b"\x83E" + bytes(8) + b"\xff" * 8 + b"\0",
        b"p\x83h\x03a\x01jj",
    ],
    ids=lambda garbage: garbage[:8].hex(),
)
async def test_a_malformed_frame_ends_the_link_with_one_line(
    garbage: bytes, records: list[logging.LogRecord]
) -> None:
    if not garbage:
        return  # a tick
    async with tcp_node() as node, scripted_peer(node) as peer:
        peer.frame(garbage)
        if garbage.startswith(b"\x83E"):
            await answered(peer)  # a first fragment, whose others may come
            return
        assert isinstance(await peer.inbox.end(), LinkLost)
        (line,) = records
        assert line.getMessage().startswith(f"connection to {PEER} ")
        assert line.getMessage().isprintable()
        assert len(line.getMessage()) < 1000
        assert line.exc_info is None


# -- messages to services ----------------------------------------------------------------------


def terms(peer: ScriptedPeer) -> dict[str, object]:
    nested: object = []
    for _ in range(100):
        nested = [nested]
    requests: object = []
    for _ in range(100):
        requests = (Atom("requests"), [requests])
    return {
        "integer": 1,
        "big": 1 << 5000,
        "negative": -1,
        "float": 1.5,
        "nil": [],
        "atom": Atom("x"),
        "undefined": None,
        "true": True,
        "binary": b"x",
        "bits": BitString(b"x", 3),
        "improper": ImproperList([1], 2),
        "alias": ImproperList([Atom("alias")], peer.reference()),
        "alias of nobody": ImproperList([Atom("alias")], MADE_UP_REF),
        "empty tuple": (),
        "tuple": (1,),
        "map": {},
        "map of terms": Map([([], 1), ({}, 2), ((), ())]),
        "pid": peer.pid(),
        "pid of nobody": MADE_UP,
        "reference": peer.reference(),
        "deep": nested,
        "deep requests": requests,
        "long": list(range(300)),
        "text": b"\x1b[31m\n\r" * 100,
        "atom with controls": Atom("a\n\x1b[31m\u2028"),
        "export": Export(Atom("m"), Atom("f"), 1),
    }


LABELS = (
    *("$gen_call", "$gen_cast", "system", "EXIT", "DOWN", "io_request", "io_reply", "log", "nodeup"),
    *("discover", "sync", "join", "leave", "call", "block_call", "cast", "sbcast", "send", "timeout"),
    *("features_request", "init_connect"),
)
SYSTEM = (
    *("get_state", "get_status", "suspend", "resume", "terminate", "replace_state", "debug"),
    *("change_code", "install"),
)
IO = ("put_chars", "get_line", "get_until", "setopts", "getopts", "requests", "get_geometry")
SERVICES = ("net_kernel", "rex", "user", "logger_proxy", "global_name_server", "pg")


def messages(peer: ScriptedPeer) -> Iterator[object]:
    """Garbage of all the shapes that services know."""
    asker = (peer.pid(), ImproperList([Atom("alias")], peer.reference()))
    for name, term in terms(peer).items():
        yield term
        for label in map(Atom, LABELS):
            yield (label,)
            yield (label, term)
            yield (label, term, Atom("x"))
            yield (label, asker, term)
            yield (label, (peer.pid(), term), (Atom("is_auth"), Atom(PEER)))
            yield (label, (MADE_UP, term), (Atom("is_auth"), Atom(PEER)))
            yield (label, peer.pid(), term, term)
            yield (label, peer.pid(), term, term, term)
            yield (label, term, term, term, term)
            yield (Atom("$gen_cast"), (label, peer.pid(), term))
            yield (Atom("$gen_cast"), (label, peer.pid(), [(term, term), term]))
            yield (Atom("$gen_call"), asker, (label, term, term, term, term))
            yield (Atom("$gen_call"), asker, (label, Atom("erlang"), Atom("apply"), term, term))
            yield (peer.pid(), (label, term, term))
            yield (peer.pid(), (label, Atom("net_kernel"), term))
        for request in map(Atom, SYSTEM):
            yield (Atom("system"), (peer.pid(), term), request)
            yield (Atom("system"), (MADE_UP, term), request)
            yield (Atom("system"), asker, (request, term))
            yield (Atom("system"), asker, (request, term, term, term))
        for level in (Atom("error"), Atom("bogus")):
            yield (Atom("log"), level, term, {})
            yield (Atom("log"), level, term, [term], {Atom("pid"): MADE_UP, Atom("gl"): term})
            yield (Atom("log"), level, [126, 112], [term], {Atom("pid"): peer.pid()})
            yield (Atom("log"), level, term, term, term)
        for verb in map(Atom, IO):
            asked: object
            for asked in (
                (verb, term),
                (verb, Atom("unicode"), term),
                (verb, Atom("unicode"), Atom("io_lib"), Atom("format"), term),
                (Atom("requests"), [(verb, term)] * 3),
            ):
                yield (Atom("io_request"), peer.pid(), name.encode(), asked)
                yield (Atom("io_request"), MADE_UP, term, asked)


@pytest.mark.parametrize("service", SERVICES)
async def test_a_service_survives_garbage(service: str, records: list[logging.LogRecord]) -> None:
    async with tcp_node() as node, scripted_peer(node) as peer:
        node.pg.start("pg")
        before = {name: node.whereis(name) for name in node._local.runtime.registered()}
        sent = 0
        for message in messages(peer):
            if service == "pg" and isinstance(message, tuple) and message[:1] == (Atom("system"),):
                continue  # a server of the program: sys:terminate ends it, as on a BEAM
            peer.tell(service, message)
            sent += 1
            if sent % 50 == 0:
                await peer.link.drain()
                await answered(peer)
        await answered(peer)
        assert {name: node.whereis(name) for name in node._local.runtime.registered()} == before
        assert sent > 4000
        # Each of them works.
        assert await node.gen_server_call("rex", (Atom("call"), Atom("m"), Atom("f"), [], peer.pid()))
        await node.io.put_chars("user", "", timeout=30)
        assert node.nodes("connected") == [PEER]
        # No traceback, and few lines: those of logger_proxy are what the peer asked for.
        told = [record for record in records if record.name != "quicdist.logger"]
        assert [record.getMessage() for record in told if record.exc_info] == []
        assert len(told) < 50
        for record in records:
            lines = record.getMessage().splitlines()
            assert all(line.isprintable() for line in lines) or record.name == "quicdist.logger"
        assert node._local.connections._dials._dialling == 0


class Quiet(GenServer):
    """Takes calls."""

    def handle_call(self, request: object, sender: object) -> object:
        return 1


@in_virtual_time
async def test_a_node_that_does_not_apply_its_fun_is_waited_for_once() -> None:
    async with tcp_node() as node, scripted_peer(node) as peer:
        node.serve(Quiet(), name="server")
        asker = (peer.pid(), ImproperList([Atom("alias")], peer.reference()))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("quicdist.otp.system_messages.REPLACE_TIME", 0.2)
            fun = Export(Atom("m"), Atom("f"), 1)
            for _ in range(50):
                peer.tell("server", (Atom("system"), asker, (Atom("replace_state"), fun)))
            await answered(peer)
            async with asyncio.timeout(1.0):
                assert await node.gen_server_call("server", 1) == 1
            # And of a node that is not connected, nothing is asked.
            stranger = (MADE_UP, asker[1])
            peer.tell("server", (Atom("system"), stranger, (Atom("replace_state"), fun)))
            await answered(peer)
            async with asyncio.timeout(0.5):
                assert await node.gen_server_call("server", 1) == 1


# -- nodes that there are not ------------------------------------------------------------------


@contextlib.asynccontextmanager
async def black_hole() -> AsyncIterator[tuple[int, list[int]]]:
    """A port that accepts and never answers, and the number of its connections."""
    now, most = 0, [0]

    async def came(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal now
        now += 1
        most[0] = max(most[0], now)
        with contextlib.suppress(OSError):
            while await reader.read(1000):
                pass
        now -= 1
        writer.close()

    server = await asyncio.start_server(came, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], most
    finally:
        server.close()


@in_virtual_time
async def test_pids_of_made_up_nodes_cause_few_dials_and_delay_no_other(
    records: list[logging.LogRecord],
) -> None:
    async with black_hole() as (port, most):
        nodes = {f"n{number}@127.0.0.1": ("127.0.0.1", port) for number in range(3000)}
        async with tcp_node("good@127.0.0.1") as good:
            nodes[good.name] = ("127.0.0.1", good.addresses[0].port)
            async with tcp_node(nodes=nodes) as node, scripted_peer(node) as peer:
                for number in range(3000):
                    asker = Pid(f"n{number}@127.0.0.1", 1, 0, 1)
                    tag = ImproperList([Atom("alias")], Reference(asker.node, (1, 2, 3), 1))
                    peer.tell("net_kernel", (Atom("$gen_call"), (asker, tag), (Atom("is_auth"), Atom(PEER))))
                await answered(peer)
                assert len(node._local.connections._connections) < 300
                async with asyncio.timeout(1.0):
                    await node.connect(good.name)
                assert await node.ping(good.name, timeout=1.0)
                assert 0 < most[0] <= 4
                for name in nodes:
                    if name != good.name:
                        node.disconnect(name)
    assert len(records) < 20


@in_virtual_time
async def test_dials_of_the_program_go_before_those_that_a_peer_causes() -> None:
    """Also to a node that a peer has named already."""
    async with black_hole() as (port, _):
        nodes = {f"n{number}@127.0.0.1": ("127.0.0.1", port) for number in range(20)}
        async with tcp_node("good@127.0.0.1") as good:
            nodes[good.name] = ("127.0.0.1", good.addresses[0].port)
            async with tcp_node(nodes=nodes) as node, scripted_peer(node) as peer:
                for name in nodes:
                    tag = ImproperList([Atom("alias")], Reference(Atom(name), (1, 2, 3), 1))
                    asker = (Pid(name, 1, 0, 1), tag)
                    peer.tell("net_kernel", (Atom("$gen_call"), asker, (Atom("is_auth"), Atom(PEER))))
                await answered(peer)
                assert good.name not in node.nodes("connected")
                async with asyncio.timeout(1.0):
                    await node.connect(good.name)
                for name in nodes:
                    node.disconnect(name)


@in_virtual_time
async def test_a_connection_that_is_waited_for_does_not_wait_for_what_processes_send() -> None:
    """A send of a process that runs by itself, to a pid of the peer, is the program's."""
    async with black_hole() as (port, most):
        nodes = {f"n{number}@127.0.0.1": ("127.0.0.1", port) for number in range(200)}
        async with tcp_node("good@127.0.0.1") as good:
            nodes[good.name] = ("127.0.0.1", good.addresses[0].port)
            async with tcp_node(nodes=nodes) as node, scripted_peer(node) as peer:
                answering = asyncio.Event()

                async def echo(process: Process) -> None:
                    while True:
                        to = await process.receive()
                        process.send(to, Atom("answer"))
                        if node._local.connections.has(to.node.name):
                            answering.set()

                node.spawn(echo, name="echo")
                for name in nodes:
                    peer.tell("echo", Pid(name, 1, 0, 1))
                await answered(peer)
                await answering.wait()
                async with asyncio.timeout(2.0):
                    await node.connect(good.name)
                assert most[0] <= 64
                for name in nodes:
                    node.disconnect(name)


@in_virtual_time
async def test_what_the_program_sends_goes_before_the_dials_of_a_peer() -> None:
    """And as much of it waits as for any node, though a peer has named that one before."""
    async with black_hole() as (port, _):
        nodes = {f"n{number}@127.0.0.1": ("127.0.0.1", port) for number in range(20)}
        async with tcp_node("good@127.0.0.1") as good:
            nodes[good.name] = ("127.0.0.1", good.addresses[0].port)
            got: list[object] = []
            all_there = asyncio.Event()

            def sink(process: Process, message: object) -> None:
                got.append(message)
                if len(got) > PROVOKED_SIGNALS:
                    all_there.set()

            good.spawn(sink, name="sink")
            async with tcp_node(nodes=nodes) as node, scripted_peer(node) as peer:
                for name in nodes:
                    tag = ImproperList([Atom("alias")], Reference(Atom(name), (1, 2, 3), 1))
                    asker = (Pid(name, 1, 0, 1), tag)
                    peer.tell("net_kernel", (Atom("$gen_call"), asker, (Atom("is_auth"), Atom(PEER))))
                await answered(peer)
                assert good.name not in node.nodes("connected")
                for number in range(PROVOKED_SIGNALS + 1):
                    node.send(("sink", good.name), number)
                async with asyncio.timeout(3.0):
                    await all_there.wait()
                assert got == list(range(PROVOKED_SIGNALS + 1))
                for name in nodes:
                    node.disconnect(name)


async def test_signals_for_unknown_processes_change_nothing() -> None:
    async with tcp_node() as node, scripted_peer(node) as peer:
        victim = Pid(node.name, 999, 0, node._local.identity.creation)
        before = node._local.runtime.processes()
        for _ in range(100):
            for control in (
                Link(peer.pid(), victim),
                UnlinkId(5, peer.pid(), victim),
                UnlinkIdAck(5, peer.pid(), victim),
                MonitorP(peer.pid(), Atom("nobody"), peer.reference()),
                DemonitorP(peer.pid(), Atom("nobody"), peer.reference()),
                GroupLeader(MADE_UP, victim),
                SpawnReply(MADE_UP_REF, victim, 3, MADE_UP),
            ):
                peer.send(control)
            peer.send(PayloadExit(peer.pid(), victim), Atom("kill"))
            peer.send(PayloadExit2(peer.pid(), victim), Atom("kill"))
            peer.send(PayloadMonitorPExit(peer.pid(), victim, peer.reference()), 1)
            peer.send(AliasSend(peer.pid(), MADE_UP_REF), 1)
            peer.send(AltactSigSend(20, peer.pid(), MADE_UP_REF), 1)
        await answered(peer)
        assert node._local.runtime.processes() == before


# -- what is logged ----------------------------------------------------------------------------

HOSTILE = "x\n2026-01-01 INFO all is well\r\x1b[2K\u2028\u202e\x85"


async def test_text_of_a_peer_never_begins_a_log_line(records: list[logging.LogRecord]) -> None:
    """Through every way into the log that a peer has: names, reasons, terms, log events, functions."""

    class Crashing(GenServer):
        def handle_call(self, request: object, sender: object) -> object:
            raise RuntimeError(str(request))

    class Plain(GenServer):
        """Accepts unknown messages."""

    name, text = Atom(HOSTILE), HOSTILE.encode(errors="replace") * 1000
    far = Pid(f"{HOSTILE}@{HOSTILE}", 1, 0, 1)
    async with tcp_node() as node, scripted_peer(node) as peer:
        node.serve(Crashing(), name="crashing")
        node.serve(Plain(), name="plain")
        asker = (peer.pid(), ImproperList([Atom("alias")], peer.reference()))
        peer.tell("net_kernel", (Atom("$gen_call"), (far, asker[1]), (Atom("is_auth"), name)))
        peer.tell("rex", (Atom("$gen_call"), asker, (Atom("call"), name, name, [text], peer.pid())))
        peer.tell("rex", (Atom("$gen_cast"), (Atom("cast"), name, name, [text], peer.pid())))
        peer.tell("rex", (Atom("$gen_cast"), (Atom("cast"), Atom("lists"), name, [text], far)))
        for message in (text, name, {name: text}, (name, text), [text] * 5, far):
            peer.tell("plain", message)
            peer.tell("crashing", (Atom("$gen_call"), asker, message))
            for meta in ({}, {Atom("pid"): far}, {Atom("pid"): peer.pid(), Atom("gl"): far}, {name: name}):
                peer.tell("logger_proxy", (Atom("log"), Atom("error"), message, meta))
                peer.tell("logger_proxy", (Atom("log"), Atom("error"), text, [message], meta))
        request = (name, name, 1)
        peer.send(SpawnRequest(peer.reference(), peer.pid(), far, request, []), [text])
        peer.send(SpawnRequest(peer.reference(), peer.pid(), far, request, [name]), [text])
        peer.send(GroupLeader(far, peer.pid()))
        await answered(peer)
        peer.send(PayloadExit(far, Pid(node.name, 1, 0, 1)), text)
        await peer.inbox.end()
    assert len(records) > 20
    assert {record.name for record in records} >= {"quicdist.logger", "quicdist.crash", "quicdist.otp"}
    for record in records:
        first, *more = record.getMessage().split("\n")
        assert first.isprintable(), record
        # Further lines are marked or labelled, and begin with nothing that a peer chose.
        assert all(line.startswith("  ") and line.replace("\t", "").isprintable() for line in more), record
        assert len(record.getMessage()) < 40_000
