"""Path MTU discovery of one connection: watches packets, sends probes, and sets the datagram size that
:class:`~quicdist.carrier.quic.engine.path_mtu.PathMtu` finds.

A path that takes short packets and none of 1200 bytes cannot carry QUIC (RFC 9000, section 14). Then
:attr:`PathProber.fault` says so, and the connection has to be closed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from quicdist.carrier.datagram_socket import Datagram, to_address
from quicdist.carrier.quic.engine.contract import Engine
from quicdist.carrier.quic.engine.own_parameters import LONG_DATAGRAMS
from quicdist.carrier.quic.engine.path_mtu import FULL, MIN_SIZE, PathMtu
from quicdist.carrier.udp import UdpSocket
from quicdist.logs import get_logger

log = get_logger("quicdist.carrier.quic")

#: Probe timeouts after which a short probe that was not acknowledged is sent again. The first one is sent
#: when no long packet was acknowledged for one probe timeout.
AGAIN: Final = 2
#: The size of a short probe: any path takes it.
SHORT: Final = 64
#: The path is too narrow when a short probe is acknowledged and so many long packets before it are not: at
#: 20 % of loss by chance this happens once in 16,000 cases. If fewer are in flight, ``AT_ONCE`` long probes
#: precede the next short one.
ENOUGH: Final = 6
AT_ONCE: Final = 2
#: An established connection ends when the system has refused datagrams of 1200 bytes so many times in a row,
#: over so many seconds: the interface may only be going down.
REFUSALS: Final = 3
REFUSED_FOR: Final = 1.0


class PathProber:
    """Path MTU discovery of one connection. ``lock`` is held while ``engine`` is used; ``time()`` is the time
    for the engine, in seconds."""

    def __init__(self, engine: Engine, lock: threading.RLock, time: Callable[[], float]) -> None:
        self._engine = engine
        self._lock = lock
        self._time = time
        self._mtu = PathMtu(engine.longest_datagram())
        self._is_up = False
        #: A short probe has to be sent after the next datagrams.
        self.owes_short = False
        #: When the last short probe was sent, until it is acknowledged.
        self._short_at: float | None = None
        #: Since when no long packet was acknowledged.
        self._since: float | None = None
        #: Long packets that were sent before an acknowledged short probe and not acknowledged themselves; and
        #: the first packet that is not counted yet.
        self._unheard = 0
        self._counted = 0
        #: Changes when a long packet was acknowledged, or the path or the size has changed.
        self._round = 0
        self._refusals = 0
        self._refused_at = 0.0
        #: Why the path cannot carry QUIC.
        self.fault = ""

    @property
    def is_up(self) -> bool:
        """Whether the QUIC handshake is complete."""
        return self._is_up

    @property
    def size(self) -> int:
        """The size of the longest datagrams, in bytes."""
        return self._mtu.size

    def new_path(self) -> None:
        """Datagrams take another path from now on."""
        self._mtu = self._mtu.anew()
        self._refusals = 0
        self._begin_anew()
        self._fit()

    def handshake_completed(self, *, whole: bool) -> None:
        """The QUIC handshake is complete. ``whole``: datagrams are not fragmented."""
        self._is_up = True
        engine = self._engine
        self._mtu.peer_takes(engine.peer_max_datagram(), long=engine.peer_says(LONG_DATAGRAMS), whole=whole)
        self._fit()

    def _fit(self) -> None:
        """Set the engine's datagram size."""
        with self._lock:
            before, size = self._engine.datagram_size(), self._mtu.size
            if size != before:
                self._engine.set_datagram_size(size)
                address = self._engine.get_peer_address()
                peer = None if address is None else to_address(address)
                log.debug("datagrams to %s: %d bytes, were %d", peer, size, before)

    def release(self) -> None:
        """The connection is over: release its clock."""
        self._time = _no_time

    # -- sending -------------------------------------------------------------------------------

    def built(self, datagrams: Sequence[Datagram]) -> bool:
        """Watch ``datagrams``, at least one, that were just built; whether to probe once they are sent.
        Called under the lock."""
        if not self._is_up:
            return False
        count = len(datagrams)
        if count == 1 and len(datagrams[0][0]) <= FULL:
            return self.owes_short
        mtu = self._mtu
        if to_watch := mtu.to_watch:
            sizes = [len(data) for data, _ in datagrams]
            if (size := max(sizes)) > to_watch:
                back = count - sizes.index(size)
                if self._engine.watch(back, partial(self._packet_done, mtu, size)):
                    mtu.watch(size)
        if self._since is None and mtu.is_watching:
            self._since = self._time()
        return self.owes_short or (count > 1 and len(datagrams[0][0]) > FULL)

    def probe(self, udp: UdpSocket) -> None:
        """Send the probes that are due, after the datagrams that were built."""
        mtu, engine = self._mtu, self._engine
        with self._lock:
            if udp.blocked or not engine.path_is_valid():
                return
            if self.owes_short:
                self.owes_short = False
                self._send_short(udp)
                return
            now = self._time()
            while size := mtu.due(now):
                if udp.send_probe(engine.make_probe(size, now, partial(self._probe_done, mtu))):
                    break
                engine.forget_probe()
                mtu.too_long(size)
            self._fit()

    def _packet_done(self, mtu: PathMtu, size: int, delivered: bool) -> None:
        if not delivered:
            mtu.undelivered(size)
            if mtu is self._mtu:
                self._judge()
            return
        mtu.delivered(size)
        self._refusals = 0
        if mtu is self._mtu and not mtu.losses:
            self._begin_anew()

    def _probe_done(self, mtu: PathMtu, delivered: bool) -> None:
        if delivered:
            mtu.probe_acknowledged()
        else:
            mtu.probe_lost()
        self._fit()

    # -- black holes -------------------------------------------------------------------------------

    def _begin_anew(self) -> None:
        if self._short_at is not None:
            self._engine.acknowledge_apart(False)
        self._since = self._short_at = None
        self._unheard = 0
        self._round += 1

    def timed_out(self) -> None:
        """A timer of the engine was handled. Called under the lock."""
        if self._since is not None:
            self._ask()

    def _ask(self) -> None:
        """Have a short probe sent if it is needed, and none is in flight."""
        now, timeout = self._time(), self._engine.probe_timeout()
        if self._short_at is None or now - self._short_at >= AGAIN * timeout:
            since = now if self._since is None else self._since
            self.owes_short = self._mtu.doubtful or now - since >= timeout

    def _send_short(self, udp: UdpSocket) -> None:
        engine, mtu, now = self._engine, self._mtu, self._time()
        on_acknowledged = partial(self._long_acknowledged, mtu)
        count, longest = engine.watch_long_packets(mtu.watch_threshold, self._counted, on_acknowledged)
        if not (count or self._unheard):
            return
        for _ in range(AT_ONCE if self._unheard and self._unheard + count < ENOUGH else 0):
            size = min(mtu.size, longest or mtu.size)
            if udp.send_probe(engine.make_probe(size, now, partial(self._long_probe_done, mtu, size))):
                count += 1
            else:
                engine.forget_probe()
        self._counted = engine.packets_sent()
        on_done = partial(self._short_probe_done, self._round, count)
        if udp.send_probe(engine.make_probe(SHORT, now, on_done)):
            self._short_at = now
            # The peer may wait for one of its own short probe, if both directions have become narrower.
            engine.acknowledge_apart(True)
        else:
            engine.forget_probe()

    def _long_acknowledged(self, mtu: PathMtu, size: int) -> None:
        self._packet_done(mtu, size, True)

    def _long_probe_done(self, mtu: PathMtu, size: int, delivered: bool) -> None:
        if delivered:
            self._packet_done(mtu, size, True)

    def _short_probe_done(self, number: int, count: int, delivered: bool) -> None:
        if number != self._round or not delivered:
            return  # A long packet was acknowledged, or the path has changed.
        mtu = self._mtu
        self._short_at = None
        self._engine.acknowledge_apart(False)
        self._unheard += count
        enough = self._unheard >= ENOUGH
        mtu.short_delivered(enough=enough)
        if enough:
            self._begin_anew()
        else:
            self.owes_short = True  # Another one at once.
        self._judge()

    def _judge(self) -> None:
        mtu = self._mtu
        self._fit()
        if mtu.is_too_narrow and not self.fault:
            self.fault = (
                f"its path is too narrow for QUIC (RFC 9000, section 14): of {mtu.losses} datagrams of more "
                f"than {FULL} bytes in a row none was acknowledged, but packets of {SHORT} bytes were; "
                f"QUIC needs {MIN_SIZE}"
            )
        elif mtu.doubtful:
            self._ask()

    # -- reports of the system -----------------------------------------------------------------

    def refused(self, size: int) -> None:
        """The system refuses datagrams of ``size`` bytes."""
        self._mtu.too_long(size)
        self._fit()
        if size > MIN_SIZE:
            return
        now = self._time()
        if not self._refusals:
            self._refused_at = now
        self._refusals += 1
        if not self._is_up or (self._refusals >= REFUSALS and now - self._refused_at >= REFUSED_FOR):
            self.fault = (
                f"its path is too narrow for QUIC (RFC 9000, section 14): the system refuses datagrams of "
                f"{size} bytes (EMSGSIZE); QUIC needs {MIN_SIZE}"
            )

    def hinted(self) -> None:
        """ICMP has reported a datagram of unknown size as too big."""
        self._mtu.hinted()
        self._fit()


def _no_time() -> float:
    return 0.0
