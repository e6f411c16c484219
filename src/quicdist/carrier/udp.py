"""One UDP socket in the event loop: read in batches, written without waiting."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import struct
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from quicdist.carrier.datagram_reader import DatagramReader
from quicdist.carrier.datagram_socket import (
    SOL_UDP,
    UDP_SEGMENT,
    Datagram,
    DatagramSocket,
    SocketAddress,
    cuts_datagrams,
    keep_whole,
    to_address,
)
from quicdist.carrier.icmp import Report, ask_for_reports, take_reports
from quicdist.carrier.keepalive import KeepAlive
from quicdist.carrier.no_handler import NO_HANDLER
from quicdist.carrier.socket_watch import SocketWatch

#: Datagrams handled in one turn of the event loop: enough that a burst is answered by one transmit, few
#: enough that the loop serves everything else, and reads the socket again, within about two milliseconds.
BATCH = 32
#: Datagrams read and not handled yet, at most. They wait here where a small kernel buffer would drop them:
#: reading one costs a tenth of handling it.
MAX_BACKLOG = 16384
#: Datagrams read in one turn of the event loop if ``sift`` is set: a flood would never end.
MAX_SIFTED = 512
#: Datagrams kept while the kernel takes none; further ones are dropped, and QUIC retransmits their data.
MAX_UNSENT = 1024

#: Datagrams that the kernel makes of one buffer at most (UDP_MAX_SEGMENTS), and their bytes in all.
_MAX_SEGMENTS = 64
_MAX_SEGMENTED = 65000
_segment_size = struct.Struct("=H")

#: The errno for ICMP port unreachable.
REFUSED = frozenset({errno.ECONNREFUSED})
#: The errnos for an unreachable network or host.
UNREACHABLE = frozenset(
    {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN, errno.EADDRNOTAVAIL}
)


class DatagramReceiver(Protocol):
    """Receives the events of a socket."""

    def datagrams_received(self, batch: Sequence[Datagram]) -> None:
        """The datagrams that were read in this turn of the event loop."""

    def socket_error(self, error: OSError) -> None:
        """The kernel reports an error of earlier sending (ICMP) or of the socket."""

    def too_long(self, size: int, address: SocketAddress) -> None:
        """The system refused a datagram of ``size`` bytes to ``address`` as too long."""

    def socket_writable(self) -> None:
        """The socket takes datagrams again."""


class SocketBuffers(NamedTuple):
    """The buffer sizes the system granted, in bytes."""

    receive: int
    send: int


def _run(datagrams: Sequence[Datagram], start: int) -> int:
    """The end of the run of datagrams from ``start`` on that the kernel can segment: one size, one
    address."""
    data, address = datagrams[start]
    size = total = len(data)
    end = start + 1
    stop = min(len(datagrams), start + _MAX_SEGMENTS)
    while end < stop:
        data, to = datagrams[end]
        total += len(data)
        if len(data) > size or total > _MAX_SEGMENTED or to != address:
            break
        end += 1
        if len(data) < size:
            break
    return end


class UdpSocket:
    """A socket of an :class:`OpenSocket` in the running event loop. Owns the socket."""

    #: Receives the events; set before the event loop runs again.
    receiver: DatagramReceiver

    def __init__(self, sock: DatagramSocket) -> None:
        self._sock = sock
        self.loop = asyncio.get_running_loop()
        self._lock = KeepAlive.of(self.loop).lock
        # Nearly always empty: a deque would take 700 bytes for each dialled connection.
        self._unsent: list[Datagram] = []
        self._backlog: deque[Datagram] = deque()
        self._handling = False
        self._connected_to: SocketAddress | None = None
        with contextlib.suppress(OSError):
            self._connected_to = sock.getpeername()
        self._reader = DatagramReader(sock, self._connected_to)
        self._cuts = cuts_datagrams(sock)
        self.closed = False
        #: Called when more datagrams have come than are handled in one turn of the event loop: returns those
        #: to be handled here, and keeps or drops the others.
        self.sift: Callable[[Sequence[Datagram]], Sequence[Datagram]] | None = None
        #: The kernel takes no more for now; ``socket_writable`` follows.
        self.blocked = False
        self._on_report: Callable[[int, SocketAddress], None] | None = None
        #: Datagrams and bytes in and out, for reports.
        self.datagrams_in = self.datagrams_out = self.dropped = 0
        self.buffers = SocketBuffers(
            sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF),
            sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF),
        )
        self.local = to_address(sock.getsockname())
        #: Datagrams are not fragmented: one that is too long for the path does not arrive.
        self.whole = keep_whole(sock)
        self._watch = SocketWatch(self.loop, sock.fileno(), self._readable)

    def read(self) -> None:
        """Read the socket now, and handle the first batch."""
        if not self.closed:
            self._readable()

    def _readable(self) -> None:
        # Everything is read before anything is handled. Later batches are scheduled by _handle, as a socket
        # with nothing to read does not call.
        backlog = self._backlog
        before = len(backlog)
        most = MAX_BACKLOG if self.sift is None else min(MAX_BACKLOG, before + MAX_SIFTED)
        error = self._drain(most, self._reader.read)
        if error is None and self._reader.should_adapt(len(backlog) - before):
            with self._lock:
                error = self._drain(most, self._reader.adapt)
        if len(backlog) == before and self._on_report is not None and self._take_reports():
            error = None
        if self.sift is not None and len(backlog) - before > BATCH:
            backlog.extend(self.sift(self._take_last(len(backlog) - before)))
            if not backlog:
                self.receiver.datagrams_received(())
        if not self._handling:
            self._handle()
        if error is not None and not self.closed:
            self.receiver.socket_error(error)

    def report_to(self, on_report: Callable[[int, SocketAddress], None]) -> None:
        """Call ``on_report`` for each ICMP error about an address that an unconnected socket has sent to:
        with the errno and the address. See :mod:`quicdist.carrier.icmp`."""
        if ask_for_reports(self._sock):
            self._on_report = on_report

    def _take_reports(self) -> bool:
        """Schedule the ICMP reports, not at once: the receiver may be sending. Whether there were any."""
        reports = take_reports(self._sock)
        if reports:
            self.loop.call_soon(self._report, reports)
        return bool(reports)

    def _report(self, reports: Sequence[Report]) -> None:
        for number, address in reports:
            if self._on_report is not None and not self.closed:
                self._on_report(number, address)

    def _drain(self, most: int, read: Callable[[deque[Datagram], int], None]) -> OSError | None:
        """Read by a method of the reader until nothing is left, or the backlog has ``most`` datagrams."""
        backlog = self._backlog
        before = len(backlog)
        try:
            read(backlog, most)
        except (BlockingIOError, InterruptedError):
            pass
        except OSError as error:
            return error.with_traceback(None)  # Its traceback would hold this socket.
        finally:
            self.datagrams_in += len(backlog) - before
        return None

    def _handle(self) -> None:
        """Handle one batch, and schedule the next."""
        self._handling = False
        backlog = self._backlog
        if self.closed or not backlog:
            return
        batch = self._take(BATCH)
        if backlog:
            self._handling = True
            self.loop.call_soon(self._handle)
        if batch:  # otherwise another thread has taken it
            self.receiver.datagrams_received(batch)

    def _take(self, most: int) -> list[Datagram]:
        # One by one: another thread may take some as well.
        next_datagram = self._backlog.popleft
        batch: list[Datagram] = []
        try:
            while len(batch) < most:
                batch.append(next_datagram())
        except IndexError:
            pass
        return batch

    def _take_last(self, count: int) -> list[Datagram]:
        """The ``count`` datagrams that came last, oldest first."""
        last_datagram = self._backlog.pop
        fresh: list[Datagram] = []
        with contextlib.suppress(IndexError):  # another thread may take some as well
            while len(fresh) < count:
                fresh.append(last_datagram())
        fresh.reverse()
        return fresh

    def take(self, most: int) -> list[Datagram]:
        """Up to ``most`` datagrams, or a few more that came together, in another thread and under the lock of
        :class:`~quicdist.carrier.keepalive.KeepAlive`: those not passed to the receiver yet."""
        if self.closed:
            return []
        if len(self._backlog) < most:
            self._drain(most, self._reader.read)  # An error is reported again with the next send.
            # Nothing calls for those that would be left, until another one comes.
            most = max(most, len(self._backlog))
        return self._take(most)

    def send_now(self, datagrams: Sequence[Datagram]) -> None:
        """Send what the kernel takes now and drop the rest, in another thread."""
        for data, address in datagrams:
            for _ in range(2):  # the first error may be about an earlier one
                try:
                    if self._connected_to is None:
                        self._sock.sendto(data, address)
                    else:
                        self._sock.send(data)
                except BlockingIOError:
                    self.dropped += 1
                    break
                except OSError:
                    continue
                self.datagrams_out += 1
                break
            else:
                self.dropped += 1

    def send(self, datagrams: Sequence[Datagram]) -> None:
        """Send as much as the kernel takes now, and the rest when it takes more. Never raises: errors go to
        ``socket_error``."""
        if self.blocked:
            self._keep(datagrams)
            return
        sent = 0
        sock = self._sock
        connected = self._connected_to is not None
        try:
            while sent < len(datagrams):
                end = _run(datagrams, sent) if self._cuts else sent + 1
                if end - sent > 1 and self._send_run(datagrams[sent:end]):
                    sent = end
                    continue
                for data, address in datagrams[sent:end]:
                    if connected:
                        sock.send(data)
                    else:
                        sock.sendto(data, address)
                    sent += 1
        except (BlockingIOError, InterruptedError):
            self._block(datagrams[sent:])
        except OSError as error:
            self._failed(error, datagrams[sent:])
        self.datagrams_out += sent

    def _send_run(self, run: Sequence[Datagram]) -> bool:
        """Have the kernel segment datagrams; whether it did."""
        data, address = run[0]
        size = [(SOL_UDP, UDP_SEGMENT, _segment_size.pack(len(data)))]
        parts = [data for data, _ in run]
        try:
            if self._connected_to is None:
                self._sock.sendmsg(parts, size, 0, address)
            else:
                self._sock.sendmsg(parts, size)
        except (BlockingIOError, InterruptedError):
            raise
        except OSError as error:
            if error.errno in REFUSED or error.errno == errno.EMSGSIZE:
                raise  # It may be about an earlier datagram.
            # EIO: the device cannot segment. Other errors come again when each is sent by itself.
            self._cuts = error.errno != errno.EIO
            return False
        return True

    def _failed(self, error: OSError, unsent: Sequence[Datagram]) -> None:
        if error.errno == errno.ENOBUFS:
            # As EAGAIN, but no event follows when it is over.
            self.dropped += len(unsent)
            return
        if error.errno == errno.EMSGSIZE:
            # It may be an ICMP error about an earlier datagram, which this call has cleared.
            if not self.closed:
                if self.send_probe(unsent[0]):
                    self.receiver.socket_error(error)
                else:
                    self.receiver.too_long(len(unsent[0][0]), unsent[0][1])
            if len(unsent) > 1 and not self.closed:
                self._keep(unsent[1:])
                self.loop.call_soon(self._writable)
            return
        if self._on_report is not None and not self.closed and self._take_reports():
            # It was an ICMP error about an earlier datagram, to any address.
            self._keep(unsent)
            self.loop.call_soon(self._writable)
            return
        # On a connected socket the error is that of an earlier datagram, and clears with this
        # call; on others it concerns this one alone.
        remaining = unsent if self._connected_to is not None and error.errno in REFUSED else unsent[1:]
        if not self.closed:
            self.receiver.socket_error(error)
        if remaining and not self.closed and error.errno not in UNREACHABLE:
            self._keep(remaining)
            self.loop.call_soon(self._writable)

    def send_probe(self, datagram: Datagram) -> bool:
        """Send one datagram now or not at all; False if the system refuses it as too long."""
        data, address = datagram
        for _ in range(2):  # the first error may be about an earlier one
            try:
                if self._connected_to is None:
                    self._sock.sendto(data, address)
                else:
                    self._sock.send(data)
            except OSError as error:
                if error.errno != errno.EMSGSIZE:
                    return True
            else:
                self.datagrams_out += 1
                return True
        return False

    def _block(self, datagrams: Sequence[Datagram]) -> None:
        self.blocked = True
        self._keep(datagrams)
        self._watch.writable(self._writable)

    def _keep(self, datagrams: Sequence[Datagram]) -> None:
        self._unsent.extend(datagrams)
        excess = max(0, len(self._unsent) - MAX_UNSENT)
        del self._unsent[:excess]
        self.dropped += excess

    def _writable(self) -> None:
        if self.closed:
            return
        if self.blocked:
            self.blocked = False
            self._watch.not_writable()
        unsent = list(self._unsent)
        self._unsent.clear()
        if unsent:
            self.send(unsent)
        if not (self.blocked or self.closed):
            self.receiver.socket_writable()

    def close(self) -> None:
        """Leave the event loop and close. Datagrams that the kernel has are still sent."""
        if self.closed:
            return
        self.closed = True
        self._unsent.clear()
        self._backlog.clear()
        self._watch.close()
        with self._lock:
            self._sock.close()
        # They usually hold this socket: avoid the cycle.
        self.receiver = NO_HANDLER
        self.sift = self._on_report = None
