"""What a stranger can do who goes through the QUIC handshake, and has no cookie."""

from __future__ import annotations

import contextlib
import os
import selectors
import time
from collections.abc import Iterable

from quicdist.protocol import LocalIdentity, gen_digest
from quicdist.protocol.handshake_messages import encode_name_message, encode_reply
from tests.hostile import raw_quic as raw
from tests.hostile.field import Attack, Field, at_rate
from tests.hostile.raw_quic import Stranger

FORGED = b"bye\n2026-01-01 00:00:00 CRITICAL root: all is lost\x1b[2J\x1b[31m\r\n"


def connected(field: Field, source: str = "127.0.0.1", **more: object) -> Stranger:
    """A stranger with a QUIC connection; one that gets none is as good as refused."""
    stranger = Stranger(field, source, **more)  # type: ignore[arg-type]
    if not stranger.handshake():
        field.note("the QUIC handshake was refused")
        raise Refused
    return stranger


class Refused(Exception):
    """The victim did not take the connection: the attack is over."""


def windows(field: Field) -> None:
    """Of each of 64 streams the last byte of the window, on two connections."""
    for _ in range(2):
        stranger = connected(field)
        window = stranger.quic._remote_max_stream_data_bidi_remote
        field.note(f"window {window} bytes")
        stranger.frames(raw.stream(4 * number, window - 1, b"x") for number in range(64))
        stranger.pump(0.1)


def stream_gaps(field: Field) -> None:
    """58 KB of STREAM frames of one byte with a gap before each."""
    stranger = connected(field)
    stranger.frames(raw.stream(0, 1 + 2 * number, b"x") for number in range(11_000))
    stranger.pump(0.2)


def crypto_gaps(field: Field) -> None:
    """58 KB of CRYPTO frames of one byte with gaps, in 1-RTT packets."""
    stranger = connected(field)
    stranger.frames(raw.crypto(1 + 2 * number, b"x") for number in range(11_000))
    stranger.pump(0.2)


def zeros(field: Field) -> None:
    """1 MB of zeros on stream 0, its first byte last."""
    stranger = connected(field)
    size = 100_000 if field.quick else 1_000_000
    step = 1100
    packets = stranger.packets(
        raw.stream(0, offset, bytes(min(step, size - offset))) for offset in range(1, size, step)
    )
    stranger.blast(packets, rate=8000)
    stranger.blast(stranger.packets([raw.stream(0, 0, b"\0")]))
    stranger.pump(0.3)


def zeros_in_order(field: Field) -> None:
    """Zeros on stream 0 without end: ticks before the handshake."""
    stranger = connected(field)
    for _ in range(30):
        stranger.say(bytes(8192))
        stranger.pump(0.02)


def packet_gaps(field: Field) -> None:
    """Every other packet number: the acknowledgements have as many ranges as packets came."""
    stranger = connected(field)
    stranger.blast([stranger.packet(raw.PING, skip=1) for _ in range(3000)], rate=6000)
    stranger.pump(0.2)


def ack_ranges(field: Field) -> None:
    stranger = connected(field)
    stranger.frames([raw.ack(16383, [(0, 0)] * 550)] * 90)
    stranger.pump(0.2)


def streams(field: Field) -> None:
    """All streams that may be opened, each with one byte and its end; then more are asked for."""
    stranger = connected(field)
    for first in range(0, 2000, 100):
        stranger.frames(raw.stream(4 * number, 0, b"x", fin=True) for number in range(first, first + 100))
        stranger.pump(0.02)
        if stranger.ended is not None:
            break


def early(field: Field) -> None:
    """60 KB on streams that are for later, in each of 20 connections."""
    for _ in range(20):
        with contextlib.suppress(Refused):
            stranger = connected(field)
            for number in range(1, 16):
                stranger.quic.send_stream_data(4 * number, os.urandom(4000))
            stranger.pump(0.05)


def resets(field: Field) -> None:
    stranger = connected(field)
    stranger.frames(
        frame
        for number in range(4000)
        for frame in (raw.reset_stream(4 * (number % 64)), raw.stop_sending(4 * (number % 64)))
    )
    stranger.pump(0.2)


def path_challenges(field: Field) -> None:
    stranger = connected(field)
    stranger.frames([raw.path_challenge(os.urandom(8)) for _ in range(12_000)])
    stranger.pump(0.2)


def pings(field: Field) -> None:
    stranger = connected(field)
    stranger.blast([stranger.packet(raw.PING) for _ in range(4000)], rate=4000)
    stranger.pump(0.2)


def connection_ids(field: Field) -> None:
    stranger = connected(field)
    stranger.frames(raw.new_connection_id(number, number, os.urandom(8)) for number in range(1, 3000))
    stranger.pump(0.2)


def retired_ids(field: Field) -> None:
    stranger = connected(field)
    for first in range(1, 400):
        stranger.frames([raw.retire_connection_id(first)])
        stranger.pump(0.004)
        if stranger.ended is not None:
            break


def migrations(field: Field) -> None:
    stranger = connected(field)
    for _ in range(150):
        stranger.move(field.source())
        stranger.send(stranger.packet(raw.PING + raw.PADDING * 1100))
    stranger.pump(0.2)


def key_updates(field: Field) -> None:
    stranger = connected(field)
    for _ in range(2000):
        stranger.update_key()
        stranger.send(stranger.packet(raw.PING))
    stranger.pump(0.2)


def wrong_keys(field: Field) -> None:
    """Packets with the next key phase that open with no key: each costs two tries."""
    stranger = connected(field)
    cid = stranger.quic._peer_cid.cid
    for number in at_rate(3000, 1.0):
        stranger.send(bytes([0x43 | (number & 1) << 2]) + cid + os.urandom(40))
    stranger.pump(0.2)


def window_updates(field: Field) -> None:
    stranger = connected(field)
    stranger.frames(
        b"\x10" + raw.var(1 << 40) + b"\x11" + raw.var(4 * (number % 64)) + raw.var(1 << 40)
        for number in range(5000)
    )
    stranger.pump(0.2)


def blocked(field: Field) -> None:
    stranger = connected(field)
    stranger.frames(b"\x14" + raw.var(number) + b"\x16" + raw.var(number) for number in range(10_000))
    stranger.pump(0.2)


def close_reasons(field: Field) -> None:
    for number in range(12):
        with contextlib.suppress(Refused):
            stranger = connected(field)
            application = bool(number % 2)
            stranger.send(stranger.packet(raw.connection_close(number, FORGED * 8, application=application)))
            stranger.sock.close()


def half_open(field: Field) -> None:
    """300 connections that go through the QUIC handshake, as far as they get, and say no more."""
    strangers = []
    for _ in range(300):
        stranger = Stranger(field)
        strangers.append(stranger)
        if len(strangers) % 10 == 0:
            for one in strangers[-40:]:
                one.pump(0.0)
    for stranger in strangers:
        stranger.pump(0.0)
    field.note(f"{sum(one.up for one in strangers)} of 300 had a handshake")


def half_open_many(field: Field) -> None:
    """The same, each from an address of its own."""
    strangers = []
    for _ in range(200):
        strangers.append(Stranger(field, field.source()))
        if len(strangers) % 10 == 0:
            for one in strangers[-40:]:
                one.pump(0.0)
    for stranger in strangers:
        stranger.pump(0.0)
    field.note(f"{sum(one.up for one in strangers)} of 200 had a handshake")


def crawling(field: Field) -> None:
    """A name message byte by byte, on each of 30 connections."""
    name = encode_name_message(LocalIdentity("slow@127.0.0.1", 1).flags, 1, "slow@127.0.0.1")
    strangers = []
    for _ in range(30):
        with contextlib.suppress(Refused):
            strangers.append(connected(field))
    for at in range(len(name) - 1):
        for stranger in strangers:
            if stranger.ended is None:
                stranger.say(name[at : at + 1])
                stranger.pump(0.0)
        time.sleep(0.02)


def names(field: Field) -> None:
    """Names that are none: lines, escapes, too long, without a host."""
    flags = LocalIdentity("a@b", 1).flags
    for name in (
        "a\nb@127.0.0.1", "\x1b[31m@127.0.0.1", "x" * 200 + "@127.0.0.1", "", "@", "a@", "@b", "a@b@c",
        "victim@127.0.0.1", "good@127.0.0.1\n", "å@127.0.0.1",
    ):  # fmt: skip
        with contextlib.suppress(Refused):
            stranger = connected(field)
            raw_name = name.encode()
            stranger.say(
                encode_name_message(flags, 1, "a@b")[:-5] + len(raw_name).to_bytes(2, "big") + raw_name
            )
            stranger.pump(0.1)


def cookies(field: Field) -> None:
    """Wrong cookies as fast as it goes, over QUIC."""
    tried = 0
    start = time.monotonic()
    while time.monotonic() - start < 2.0:
        stranger = Stranger(field)
        tried += 1
        try:
            stranger.login(f"guess{tried}@127.0.0.1", f"wrong{tried}", field.name, 1.0)
            field.expect(False, "a wrong cookie was taken")
        except Exception as error:
            del error
        stranger.close()
    field.note(f"{tried} cookies tried in 2 s")


def reply_at_once(field: Field) -> None:
    """Name and digest together, before the challenge came."""
    for number in range(20):
        with contextlib.suppress(Refused):
            stranger = connected(field)
            flags = LocalIdentity("a@b", 1).flags
            name = encode_name_message(flags, 1, f"eager{number}@127.0.0.1")
            stranger.say(name + encode_reply(1, gen_digest(1, "wrong")))
            stranger.pump(0.05)


def parameters(field: Field) -> None:
    """Transport parameters at their edges."""
    for more in (
        {"max_data": (1 << 62) - 1, "max_stream_data": (1 << 62) - 1},
        {"max_data": 0, "max_stream_data": 0},
        {"idle_timeout": 0.001},
        {"idle_timeout": float(1 << 40)},
        {"max_datagram_frame_size": 65535},
        {"quantum_readiness_test": True},
        {"alpn_protocols": ["h3", "erlang-dist\n"]},
        {"alpn_protocols": ["x" * 200] * 3},
        {"server_name": "x" * 60 + ".\n"},
    ):
        stranger = Stranger(field, **more)
        stranger.pump(0.15, until=lambda one=stranger: one.up or one.ended)


def drop_what_comes(strangers: Iterable[Stranger], seconds: float) -> None:
    """Read what comes for them within ``seconds``, and answer nothing."""
    deadline = time.monotonic() + seconds
    with selectors.DefaultSelector() as selector:
        for stranger in strangers:
            if stranger.sock.fileno() >= 0:
                selector.register(stranger.sock, selectors.EVENT_READ, stranger.sock)
        while (left := deadline - time.monotonic()) > 0:
            for key, _ in selector.select(left):
                with contextlib.suppress(OSError):
                    key.data.recvfrom(65536)


def amplification(field: Field) -> None:
    """What an address that was never validated is sent, for each byte that came from there."""
    worst = 0.0
    for _ in range(12):
        sent, received = field.sent, field.received
        stranger = Stranger(field, field.source())
        # Nothing of what comes is answered.
        drop_what_comes([stranger], 0.12)
        worst = max(worst, (field.received - received) / max(1, field.sent - sent))
    counted = [(field.sent, field.received)]
    held = [one for one in field._held if isinstance(one, Stranger)]
    drop_what_comes(held, 1.0 if field.quick else 11.0)  # the close is counted too
    worst = max(worst, field.received / max(1, field.sent))
    field.note(f"{worst:.2f} times its bytes, {counted[0][1]} bytes of {field.received} at once")
    field.expect(worst <= 3.0, f"answered with {worst:.2f} times the bytes")


def strange_certificate(field: Field) -> None:
    """A certificate of the right CA for a name that is none, and the like."""
    for kind in ("strange-san", "no-san", "other-host", "self-signed"):
        for _ in range(3):
            stranger = Stranger(field, shown=(field.tls[f"{kind}.cert"], field.tls[f"{kind}.key"]))
            stranger.handshake(2.0)
            if stranger.up:
                name = encode_name_message(LocalIdentity("a@b", 1).flags, 1, "strange@127.0.0.1")
                stranger.say(name)
                stranger.pump(0.2)
    field.expect("strange@127.0.0.1" not in field.victim.do("nodes"), "it was let in")


ATTACKS = [
    Attack("windows", "one byte at the end of each of 64 windows, two connections", windows, quick=True),
    Attack("stream-gaps", "58 KB of one-byte STREAM frames with gaps", stream_gaps, quick=True),
    Attack("crypto-gaps-1rtt", "58 KB of one-byte CRYPTO frames with gaps, after the handshake", crypto_gaps),
    Attack("zeros", "1 MB of zeros on stream 0, first byte last", zeros, quick=True),
    Attack("zeros-in-order", "240 KB of zeros on stream 0", zeros_in_order),
    Attack("packet-gaps", "3000 packets, every other number", packet_gaps),
    Attack("ack-ranges", "90 ACK frames of 550 ranges", ack_ranges),
    Attack("streams", "2000 streams with a byte and an end", streams),
    Attack("early-data", "60 KB on other streams in each of 20 connections", early),
    Attack("resets", "4000 RESET_STREAM and STOP_SENDING", resets),
    Attack("path-challenges", "12000 PATH_CHALLENGE", path_challenges),
    Attack("pings", "4000 packets with a PING", pings),
    Attack("connection-ids", "3000 NEW_CONNECTION_ID that retire one another", connection_ids),
    Attack("retired-ids", "RETIRE_CONNECTION_ID of all ids there are", retired_ids),
    Attack("migrations", "a connection that moves to 150 addresses", migrations),
    Attack("key-updates", "2000 key updates", key_updates),
    Attack("wrong-keys", "3000 packets of a connection that open with no key", wrong_keys),
    Attack("window-updates", "10000 MAX_DATA and MAX_STREAM_DATA", window_updates),
    Attack("blocked", "20000 DATA_BLOCKED and STREAMS_BLOCKED", blocked),
    Attack("close-reasons", "CONNECTION_CLOSE with line ends and escapes", close_reasons, quick=True),
    Attack("half-open-quic", "300 QUIC connections that say nothing", half_open),
    Attack("half-open-quic-many", "200 QUIC connections that say nothing, of 200 addresses", half_open_many),
    Attack("crawling", "30 name messages byte by byte", crawling),
    Attack("names-quic", "names that are none", names),
    Attack("cookies-quic", "wrong cookies over QUIC, as fast as it goes", cookies),
    Attack("reply-at-once", "name and digest before the challenge", reply_at_once),
    Attack("parameters", "transport parameters at their edges", parameters),
    Attack("amplification", "handshakes that nobody answers, the close counted", amplification),
    Attack("amplification-chain", "the same with a chain of 10 KB", amplification, variant="chain"),
    Attack("strange-certificate", "certificates with strange names", strange_certificate, variant="mtls"),
]
