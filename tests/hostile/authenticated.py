"""What a peer can do that has the cookie, and misbehaves."""

from __future__ import annotations

import contextlib
import os
import random
import struct
import time
from collections.abc import Callable
from typing import Any

from quicdist.protocol import (
    DEFAULT_FLAGS,
    NO_PAYLOAD,
    UNUSED,
    Connected,
    ControlMessage,
    DistConnection,
    Exit2,
    HandshakeFraming,
    Initiator,
    Link,
    LocalIdentity,
    MonitorP,
    PayloadExit2,
    RegSend,
    SendSender,
    StatusReceived,
    StreamPlan,
)
from quicdist.term import Atom, Codec, Export, Fun, ImproperList, Pid, Reference, term_to_binary
from tests.hostile import raw_quic as raw
from tests.hostile.field import Attack, CountingSocket, Field
from tests.hostile.raw_quic import QuicPeer, Stranger

FORGED = "x\n2026-01-01 00:00:00 CRITICAL root: all is lost\x1b[31m\r\n"
SERVICES = ("net_kernel", "rex", "user", "logger_proxy", "logger", "global_name_server", "pg", "init",
            "error_logger", "kernel_sup", "application_controller", "code_server", "erts_code_purger",
            "auth", "inet_db", "echo", "sink")  # fmt: skip


class TcpPeer:
    """An authenticated peer over TCP."""

    def __init__(self, field: Field, name: str, *, flags: int = DEFAULT_FLAGS) -> None:
        self.sock: CountingSocket = field.dial()
        machine = Initiator(
            LocalIdentity(name, 1, DEFAULT_FLAGS & flags), field.name, field.cookie,
            HandshakeFraming.PACKET_2,
        )  # fmt: skip
        connected: Connected | None = None
        while connected is None:
            for message in machine.data_to_send():
                self.sock.sendall(message)
            data = self.sock.recv(1 << 16)
            if not data:
                raise machine.connection_closed()
            for event in machine.receive_data(data):
                if isinstance(event, StatusReceived) and event.status == "alive":
                    machine.send_alive_answer(True)
                if isinstance(event, Connected):
                    connected = event
        self.name, self.victim = name, field.name
        self.connection = DistConnection(
            connected.peer, connected.local, codec=Codec(), streams=StreamPlan.single()
        )
        self.sock.settimeout(3.0)

    def pid(self, number: int = 1, node: str | None = None) -> Pid:
        return Pid(node or self.name, number, 0, 1)

    def send(self, control: ControlMessage, payload: Any = NO_PAYLOAD) -> None:
        _, chunks = self.connection.send(control, payload)
        self.sock.sendall(b"".join(bytes(chunk) for chunk in chunks))

    def to(self, name: str, message: Any) -> None:
        self.send(RegSend(self.pid(), UNUSED, Atom(name)), message)

    def frame(self, body: bytes) -> None:
        self.sock.sendall(len(body).to_bytes(4, "big") + body)

    def control(self, control: tuple[Any, ...], payload: Any = NO_PAYLOAD) -> None:
        """A control message that need not be one."""
        body = b"\x83D\0" + term_to_binary(control)[1:]
        if payload is not NO_PAYLOAD:
            body += term_to_binary(payload)[1:]
        self.frame(body)

    def drain(self, seconds: float = 0.2) -> bool:
        """Take what has come for so long; whether the connection still stands."""
        self.sock.settimeout(0.05)
        deadline = time.monotonic() + seconds
        try:
            while time.monotonic() < deadline:
                try:
                    if not self.sock.recv(1 << 20):
                        return False
                except TimeoutError:
                    pass
        except OSError:
            return False
        finally:
            self.sock.settimeout(3.0)
        return True


def attack(run: Callable[[Field, TcpPeer], None]) -> Callable[[Field], None]:
    """An attack of one peer over TCP; a connection that the victim ends is an answer."""

    def wrapped(field: Field) -> None:
        peer = TcpPeer(field, f"peer{random.randrange(10**6)}@127.0.0.1")
        with contextlib.suppress(OSError):
            run(field, peer)
            peer.drain()
        services = field.victim.do("services", timeout=30.0)
        field.expect(services["net_kernel"] < 4.0, "net_kernel answers no more")

    return wrapped


@attack
def forged_signals(field: Field, peer: TcpPeer) -> None:
    """Signals that name pids of other nodes as their senders, and pids that never were."""
    stranger, nobody = Pid("other@127.0.0.1", 7, 0, 1), Pid(field.name, 99999, 0, 1)
    for number in range(300):
        peer.control((1, stranger, nobody))
        peer.control((3, stranger, nobody, Atom("killed")))
        peer.control((8, stranger, nobody, Atom("kill")))
        peer.control((19, stranger, nobody, Reference(peer.name, (number, 1, 1), 1)))


def _ended_by(*controls: Any) -> Callable[[Field], None]:
    """Each message on a link of its own, which has to end, or to go on without a traceback."""

    def run(field: Field) -> None:
        ended = 0
        for number, control in enumerate(controls):
            with contextlib.suppress(OSError):
                peer = TcpPeer(field, f"bad{number}@127.0.0.1")
                control(peer)
                ended += not peer.drain(0.15)
        field.note(f"{ended} of {len(controls)} links ended")
        services = field.victim.do("services", timeout=30.0)
        field.expect(services["net_kernel"] < 4.0, "net_kernel answers no more")

    return run


def _control(*control: Any, payload: Any = NO_PAYLOAD) -> Callable[[TcpPeer], None]:
    return lambda peer: peer.control(control, payload)


def _frame(body: bytes) -> Callable[[TcpPeer], None]:
    return lambda peer: peer.frame(body)


malformed = _ended_by(
    _control(1, 2, 3), _control(1, Atom("a"), Atom("b")), _control(99), _control(), _control(Atom("x")),
    _control(2, b"", 7, payload=1), _control(6, 1, 2, 3, payload=1), _control(19, 1, 2, 3),
    _control(29, 1, 2, 3, 4, 5), _control(31, 1), _control(36, 1, 2, payload=1), _control(1 << 70, 1),
    _frame(b""), _frame(b"\x83"), _frame(b"\x83D"), _frame(b"\x83D\xff"), _frame(b"\x83E" + bytes(16)),
    _frame(b"\x83E" + bytes(17)), _frame(b"\x83F" + b"\xff" * 16), _frame(b"p\x83h\x7f"),
    _frame(b"\x83D\0h\x03a\x02"), _frame(os.urandom(100)), _frame(b"\x83D\0" + b"h\x01" * 5000),
    lambda peer: peer.sock.sendall(b"\xff\xff\xff\xff" + bytes(1000)),
    lambda peer: peer.sock.sendall(b"\x08\0\0\1" + bytes(1000)),
)  # fmt: skip


@attack
def long_reasons(field: Field, peer: TcpPeer) -> None:
    """Exit signals with reasons of 5 MB."""
    reason = (Atom("error"), b"\n\x1b[31m" * 1_000_000)
    victim_pid = Pid(field.name, 1, 0, 1)
    for number in range(3):
        peer.send(PayloadExit2(peer.pid(number), victim_pid), reason)
    peer.send(PayloadExit2(peer.pid(), Pid("elsewhere@127.0.0.1", 1, 0, 1)), reason)
    peer.control((3, peer.pid(), victim_pid, reason))
    peer.control((3, Pid("forged@127.0.0.1", 1, 0, 1), victim_pid, reason))


@attack
def long_messages(field: Field, peer: TcpPeer) -> None:
    """5 MB to each of the services, and to nobody."""
    for name in (*SERVICES, "nobody"):
        peer.to(name, (Atom("x"), [1.5] * 20_000, b"y" * 250_000))
    peer.to("net_kernel", b"z" * 5_000_000)


@attack
def made_up_nodes(field: Field, peer: TcpPeer) -> None:
    """3000 pids of nodes that never were, sent where they are answered."""
    for number in range(3000):
        there = Pid(f"made{number}@127.0.0.1", number, 0, 1)
        tag = ImproperList([Atom("alias")], Reference(there.node.name, (number, 1, 1), 1))
        peer.send(
            RegSend(peer.pid(), UNUSED, Atom("net_kernel")),
            (Atom("$gen_call"), (there, tag), (Atom("is_auth"), Atom(there.node.name))),
        )
    peer.drain(1.0)
    peer.to("echo", (Pid("made1@127.0.0.1", 1, 0, 1), 1))


@attack
def echo_to_made_up(field: Field, peer: TcpPeer) -> None:
    """3000 messages to a process that answers to whom it is told to."""
    for number in range(3000):
        peer.to("echo", (Pid(f"echo{number}@127.0.0.1", number, 0, 1), 1))
    peer.drain(1.0)


@attack
def empty_maps(field: Field, peer: TcpPeer) -> None:
    """Two million empty maps in 10 MB."""
    count = 2_000_000
    body = b"\x83D\0" + term_to_binary((6, peer.pid(), UNUSED, Atom("sink")))[1:]
    body += b"l" + struct.pack(">I", count) + b"t\0\0\0\0" * count + b"j"
    peer.frame(body)
    peer.drain(2.5)


@attack
def small_terms(field: Field, peer: TcpPeer) -> None:
    """Two million tuples, and as many references to one another's like, in 4 MB."""
    count = 1_000_000
    body = b"\x83D\0" + term_to_binary((6, peer.pid(), UNUSED, Atom("sink")))[1:]
    peer.frame(body + b"l" + struct.pack(">I", count) + b"h\x00" * count + b"j")
    peer.frame(body + b"l" + struct.pack(">I", count) + b"h\x01j" * count + b"j")
    peer.drain(2.0)


@attack
def deep_terms(field: Field, peer: TcpPeer) -> None:
    body = b"\x83D\0" + term_to_binary((6, peer.pid(), UNUSED, Atom("sink")))[1:]
    for depth in (100, 1000, 10_000, 1_000_000):
        peer.frame(body + b"h\x01" * depth + b"j")


@attack
def big_integers(field: Field, peer: TcpPeer) -> None:
    """Integers of a megabyte, where they are shown, compared and hashed."""
    body = b"o" + struct.pack(">I", 1_000_000) + b"\0" + b"\xff" * 1_000_000
    head = b"\x83D\0" + term_to_binary((6, peer.pid(), UNUSED, Atom("net_kernel")))[1:]
    for _ in range(3):
        peer.frame(head + body)
    call = b"h\x03" + term_to_binary(Atom("$gen_call"))[1:] + body + body
    peer.frame(head + call)


@attack
def compressed(field: Field, peer: TcpPeer) -> None:
    """A megabyte of zlib that would be a gigabyte."""
    import zlib

    packed = zlib.compress(b"m" + struct.pack(">I", 1 << 28) + bytes(1 << 28), 9)
    body = b"\x83D\0" + term_to_binary((6, peer.pid(), UNUSED, Atom("sink")))[1:]
    peer.frame(body + b"P" + struct.pack(">I", (1 << 28) + 5) + packed)
    peer.frame(b"p" + b"\x83P" + struct.pack(">I", (1 << 28) + 5) + packed)


@attack
def many_atoms(field: Field, peer: TcpPeer) -> None:
    """100000 atoms that nobody needs."""
    for first in range(0, 100_000, 1000):
        peer.to("sink", [Atom(f"atom-{peer.name}-{number}") for number in range(first, first + 1000)])
    peer.drain(1.0)


@attack
def garbage_to_services(field: Field, peer: TcpPeer) -> None:
    """Messages of all shapes to every service: each still answers."""
    me, ref = peer.pid(), Reference(peer.name, (1, 2, 3), 1)
    tag = ImproperList([Atom("alias")], ref)
    call = Atom("$gen_call")
    messages: list[Any] = [
        1, b"", [], (), {}, Atom("x"), FORGED, [1, 2], (1,), (Atom("EXIT"), me, Atom("x")),
        (call,), (call, 1, 2), (call, (me, ref), Atom("x")), (call, (me, tag), (Atom("is_auth"), 5)),
        (call, (Atom("x"), tag), ()), (Atom("$gen_cast"), FORGED),
        (Atom("system"), (me, tag), Atom("get_state")),
        (Atom("system"), (me, tag), (Atom("replace_state"), 5)),
        (Atom("system"), (me, tag), (Atom("replace_state"), me)),
        (Atom("system"), (me, tag), (Atom("debug"), FORGED)),
        (Atom("system"), (me, tag), (Atom("change_code"), 1, 2, 3)),
        (Atom("io_request"), me, tag, (Atom("put_chars"), Atom("unicode"), FORGED)),
        (Atom("io_request"), me, tag, (Atom("get_line"), 1)),
        (Atom("DOWN"), ref, Atom("process"), me, Atom("x")),
        (call, (me, tag), (Atom("call"), Atom("m"), Atom("f"), 5, me)),
        (call, (me, tag), (Atom("call"), FORGED, FORGED, [FORGED], me)),
        (call, (me, tag), (Atom("spawn"), Atom("m"), Atom("f"), 5)),
        (me, Atom("features_request")), (Atom("discover"), me), (Atom("join"), me, 1, [me]),
        (Atom("sync"), me, [(1, [2])]), (Atom("leave"), me, 1, 2), (Atom("nodeup"), FORGED),
        (Atom("log"), Atom("error"), FORGED, [], {}), {1: 2}, 1.5, me, ref, ImproperList([1], 2),
    ]  # fmt: skip
    for name in SERVICES:
        for message in messages:
            peer.to(name, message)
    peer.drain(0.5)


@attack
def replaced_states(field: Field, peer: TcpPeer) -> None:
    """sys:replace_state/2 with functions that are the peer's to call, and that it never answers for."""
    tag = ImproperList([Atom("alias")], Reference(peer.name, (1, 2, 3), 1))
    for name in ("net_kernel", "rex"):
        for asked in (
            (Atom("replace_state"), Export("m", "f", 1)),
            (Atom("replace_state"), local_fun(peer)),
            (Atom("debug"), (Atom("install"), (local_fun(peer), 1))),
        ):
            peer.to(name, (Atom("system"), (peer.pid(), tag), asked))
    peer.drain(0.3)


@attack
def debug_options(field: Field, peer: TcpPeer) -> None:
    """sys's debug commands of every shape, 1000 functions to install, and 3000 calls with all of it on."""
    tag = ImproperList([Atom("alias")], Reference(peer.name, (1, 2, 3), 1))
    caller = (peer.pid(), tag)
    words = [Atom(word) for word in ("trace", "log", "log_to_file", "statistics", "install", "remove")]
    for name in ("net_kernel", "rex", "server"):
        for word in words:
            for value in (FORGED, [], (1,), (True, 1 << 100), (FORGED,) * 3, {1: 2}, True, 1, [b"/etc/x"]):
                peer.to(name, (Atom("system"), caller, (Atom("debug"), (word, value))))
        for number in range(1000):
            spec = (number, local_fun(peer), bytes(1000))
            peer.to(name, (Atom("system"), caller, (Atom("debug"), (Atom("install"), spec))))
    for number in range(3000):
        for name in ("rex", "server"):
            peer.to(name, (Atom("$gen_call"), caller, (FORGED, number, bytes(100))))
    peer.drain(1.0)
    for name in ("net_kernel", "rex", "server"):
        peer.to(name, (Atom("system"), caller, (Atom("debug"), Atom("no_debug"))))
    peer.drain(0.3)


@attack
def input_requests(field: Field, peer: TcpPeer) -> None:
    """10000 requests to read what this program's group leader has as input, parsed by the peer."""
    for number in range(2500):
        for request in (
            (Atom("get_line"), Atom("unicode"), FORGED),
            (Atom("get_chars"), Atom("unicode"), (Atom("format"), FORGED, [FORGED]), 1 << 24),
            (Atom("get_until"), Atom("unicode"), b"", Atom("erl_scan"), Atom("tokens"), [1]),
            (Atom("requests"), [(Atom("get_line"), Atom("latin1"), b"")] * 5),
        ):
            peer.to("user", (Atom("io_request"), peer.pid(), number, request))
    peer.drain(1.0)


@attack
def group_leaders(field: Field, peer: TcpPeer) -> None:
    """3000 functions that print, with group leaders that never answer, here and on nodes that never were."""
    for number in range(3000):
        reference = Reference(peer.name, (number, 2, 1), 1)
        leader = peer.pid(number + 1, peer.name if number % 2 else f"never{number}@made-up.invalid")
        mfa = (Atom("victim"), Atom("prints"), 0)
        peer.control((29, reference, peer.pid(), leader, mfa, []), [])
    peer.drain(1.0)


def local_fun(peer: TcpPeer) -> Fun:
    """A fun of arity 1 made by a process of the peer."""
    body = b"\x01" + bytes(16) + struct.pack(">II", 0, 0)
    body += b"".join(term_to_binary(one)[1:] for one in (Atom("m"), 0, 0, peer.pid()))
    return Fun(b"p" + struct.pack(">I", len(body) + 4) + body)


@attack
def forged_lines(field: Field, peer: TcpPeer) -> None:
    """Lines by logger_proxy and error_logger, with line ends and escapes."""
    gl = peer.pid()
    meta = {
        Atom("pid"): gl,
        Atom("gl"): gl,
        Atom("time"): 1,
        Atom("error_logger"): {Atom("emulator"): True, Atom("tag"): Atom("error")},
    }
    text = list(FORGED.encode())
    for number in range(50):
        for level in ("error", "notice", "emergency"):
            peer.to("logger_proxy", (Atom("log"), Atom(level), [*text, 48 + number], [], meta))
            peer.to("logger_proxy", (Atom("log"), Atom(level), list(b"~ts~n"), [text * 20], meta))
            peer.to("logger_proxy", (Atom("log"), Atom(level), text, meta))
            report = {Atom("label"): Atom(FORGED), Atom("text"): FORGED}
            peer.to("logger_proxy", (Atom("log"), Atom(level), report, meta))
            written = {**meta, Atom("python_text"): FORGED}
            peer.to("logger_proxy", (Atom("log"), Atom(level), report, written))
        peer.to("error_logger", (Atom("notify"), (Atom("error"), gl, (gl, text, []))))
    peer.drain(0.5)


@attack
def fragments(field: Field, peer: TcpPeer) -> None:
    """First fragments of messages that are never ended: 3000 of 1 KB."""
    control = term_to_binary((6, peer.pid(), UNUSED, Atom("sink")))[1:]
    for number in range(3000):
        head = b"\x83E" + struct.pack(">QQ", number + 1, 1 << 40) + b"\0"
        peer.frame(head + control + b"m\0\x10\0\0" + bytes(1000))
    peer.drain(0.5)


@attack
def fragments_out_of_order(field: Field, peer: TcpPeer) -> None:
    for number in range(200):
        peer.frame(b"\x83F" + struct.pack(">QQ", number + 1, 5) + bytes(100))
        peer.frame(b"\x83F" + struct.pack(">QQ", number + 1, 0) + bytes(100))


@attack
def tiny_fragments(field: Field, peer: TcpPeer) -> None:
    """One message in 100000 fragments of a byte."""
    count = 100_000
    control = term_to_binary((6, peer.pid(), UNUSED, Atom("sink")))[1:]
    peer.frame(
        b"\x83E" + struct.pack(">QQ", 1, count) + b"\0" + control + b"m" + struct.pack(">I", count - 1)
    )
    sent = b"".join(
        struct.pack(">I", 19) + b"\x83F" + struct.pack(">QQ", 1, left) + b"x"
        for left in range(count - 1, 0, -1)
    )
    peer.sock.sendall(sent)
    peer.drain(0.5)


@attack
def ticks(field: Field, peer: TcpPeer) -> None:
    """A million ticks."""
    peer.sock.settimeout(10.0)
    for _ in range(40):
        peer.sock.sendall(bytes(100_000))
    peer.drain(0.5)


@attack
def monitors(field: Field, peer: TcpPeer) -> None:
    """20000 monitors and links of processes that are not there, and of one that is."""
    for number in range(10_000):
        peer.send(MonitorP(peer.pid(number), Atom("sink"), Reference(peer.name, (number % 262144, 1, 1), 1)))
        peer.send(Link(peer.pid(number), Pid(field.name, 77_777, 0, 1)))
        if number % 500 == 0:
            peer.drain(0.01)
    peer.drain(0.5)


@attack
def spawns(field: Field, peer: TcpPeer) -> None:
    """3000 requests to spawn what may not be spawned."""
    for number in range(3000):
        reference = Reference(peer.name, (number, 1, 1), 1)
        mfa = (Atom("erlang"), Atom(FORGED if number % 2 else "halt"), 1)
        peer.control((29, reference, peer.pid(), peer.pid(), mfa, [Atom("monitor")]), [[1]])
    peer.drain(0.5)


@attack
def atoms_with_lines(field: Field, peer: TcpPeer) -> None:
    """Names with line ends wherever a name is logged."""
    for name in (FORGED, "\n", "\x1b[2J", "\u2028x", "x" * 255):
        peer.to(name, 1)
        peer.send(MonitorP(peer.pid(), Atom(name), Reference(peer.name, (1, 1, 1), 1)))
        peer.send(Exit2(peer.pid(), Pid(field.name, 5, 0, 1), Atom(name)))
        peer.to("net_kernel", (Atom(name), 1))
        peer.to("rex", (peer.pid(), (Atom("call"), Atom(name), Atom(name), [], peer.pid())))


def quic_windows(field: Field) -> None:
    """Over QUIC: the last byte of the window on each of 64 streams."""
    peer = Stranger(field).login("gaps@127.0.0.1", field.cookie, field.name)
    stranger = peer.stranger
    stranger.pump(0.3)
    window = stranger.quic._remote_max_stream_data_bidi_remote
    stranger.frames(raw.stream(4 * number, window - 1, b"x") for number in range(1, 65))
    stranger.pump(0.3)


def quic_gaps(field: Field) -> None:
    """Over QUIC: 58 KB of one-byte STREAM frames with gaps, on a data stream."""
    stranger = Stranger(field).login("holes@127.0.0.1", field.cookie, field.name).stranger
    stranger.frames(raw.stream(4, 1 + 2 * number, b"x") for number in range(11_000))
    stranger.pump(0.3)


def quic_placement(field: Field) -> None:
    """Over QUIC: frames on the control stream, on streams of the victim, on unidirectional ones."""
    for number, stream_id in enumerate((0, 2, 6, 64, 68, 1, 5, 3, 400)):
        with contextlib.suppress(Exception):
            peer = Stranger(field).login(f"place{number}@127.0.0.1", field.cookie, field.name)
            _, data = peer.frame_of(RegSend(Pid(peer.name, 1, 0, 1), UNUSED, Atom("sink")), 1)
            peer.stranger.frames([raw.stream(stream_id, 0, data + os.urandom(50))])
            peer.stranger.pump(0.1)


def quic_zeros(field: Field) -> None:
    """Over QUIC: 4 MB of ticks on the control stream."""
    peer: QuicPeer = Stranger(field).login("ticks@127.0.0.1", field.cookie, field.name)
    for _ in range(16):
        peer.raw(bytes(1 << 16), 0)
        peer.flush(1.0)


def quic_user_streams(field: Field) -> None:
    """Over QUIC: 500 user streams that nobody asked for."""
    stranger = Stranger(field).login("users@127.0.0.1", field.cookie, field.name).stranger
    for first in range(17, 517, 50):
        stranger.frames(raw.stream(4 * number, 0, bytes(200)) for number in range(first, first + 50))
        stranger.pump(0.05)


def links(field: Field) -> None:
    """30 links that come and go, over QUIC: what is left of them."""
    for number in range(30):
        with contextlib.suppress(Exception):
            peer = Stranger(field).login(f"brief{number}@127.0.0.1", field.cookie, field.name)
            peer.send(SendSender(Pid(peer.name, 1, 0, 1), Pid(field.name, 1, 0, 1)), b"x" * 1000)
            peer.stranger.pump(0.01)
            peer.stranger.close()


def stop_reading(field: Field) -> None:
    """40 MB asked for and not read."""
    peer = TcpPeer(field, "deaf@127.0.0.1")
    for _ in range(40):
        peer.to("echo", (peer.pid(), bytes(1_000_000)))
    time.sleep(1.0)


ATTACKS = [
    Attack(name, what, run, kind="peer", quick=name in {"garbage-services"})
    for name, what, run in (
        ("forged-signals", "1200 signals in the name of others", forged_signals),
        ("malformed", "25 links, each with a malformed frame", malformed),
        ("long-reasons", "exit reasons of 5 MB", long_reasons),
        ("long-messages", "messages of up to 5 MB to every service", long_messages),
        ("made-up-nodes", "3000 calls from pids of nodes that never were", made_up_nodes),
        ("echo-made-up", "3000 echoes to pids of nodes that never were", echo_to_made_up),
        ("empty-maps", "two million empty maps", empty_maps),
        ("small-terms", "two million tuples", small_terms),
        ("deep-terms", "terms a million deep", deep_terms),
        ("big-integers", "integers of a megabyte", big_integers),
        ("compressed", "a zlib bomb of 256 MiB", compressed),
        ("many-atoms", "100000 atoms", many_atoms),
        ("garbage-services", "messages of all shapes to every service", garbage_to_services),
        ("replace-state", "sys:replace_state with a fun that is never answered for", replaced_states),
        ("debug-options", "sys's debug options, funs to install, 6000 calls with them", debug_options),
        ("input-requests", "10000 requests for input", input_requests),
        ("group-leaders", "3000 functions that print at group leaders that never answer", group_leaders),
        ("forged-lines", "650 lines by logger_proxy and error_logger", forged_lines),
        ("fragments", "3000 messages of which only the first fragment comes", fragments),
        ("fragments-order", "fragments out of order", fragments_out_of_order),
        ("fragments-tiny", "one message in 100000 fragments", tiny_fragments),
        ("ticks", "a million ticks", ticks),
        ("monitors", "10000 monitors and as many links", monitors),
        ("spawns", "3000 spawn requests", spawns),
        ("atoms-lines", "names with line ends", atoms_with_lines),
        ("quic-windows", "one byte at the end of 64 windows", quic_windows),
        ("quic-gaps", "58 KB of one-byte STREAM frames with gaps", quic_gaps),
        ("quic-placement", "frames on streams they do not belong to", quic_placement),
        ("quic-ticks", "262144 ticks over QUIC", quic_zeros),
        ("quic-user-streams", "500 user streams", quic_user_streams),
        ("brief-links", "30 links that come and go", links),
        ("deaf", "40 MB asked for and not read", stop_reading),
    )
]
