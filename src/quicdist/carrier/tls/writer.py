"""The writing half of a TLS connection: frames in, records to the kernel, from two threads.

As :mod:`quicdist.carrier.tcp.writer`, with encryption: bytes from the queue become TLS records. Records that
the kernel has not taken are written first.
"""

from __future__ import annotations

import asyncio

from quicdist.carrier.tcp.writer import Writer
from quicdist.carrier.tls.session import TlsError, TlsSession


class TlsWriter(Writer):
    """Writes through a TLS session, under the lock of :class:`~quicdist.carrier.keepalive.KeepAlive`."""

    __slots__ = ("_records", "_session", "_size", "session_size")

    def __init__(self, transport: asyncio.Transport, session: TlsSession) -> None:
        super().__init__(transport)
        self._session = session
        #: Records that the kernel has not taken, and the number of bytes of the queue in them.
        self._records = memoryview(b"")
        self._size = 0
        #: Bytes of these records that the session made by itself.
        self.session_size = 0

    @property
    def is_empty(self) -> bool:
        return not self.queue and not self._records

    def write(self) -> bool:
        return self._write_records() and super().write()

    def add_session_records(self) -> None:
        """Queue the records that the session made itself: the answer to a key update, an alert."""
        self.session_size += self._add_records(0)

    def _write_in_steps(self) -> bool:
        return self._write_records() and super()._write_in_steps()

    def _send(self, data: bytes | memoryview) -> bool:
        try:
            self._session.send(data)
        except TlsError as error:
            self._fail(error)
            return False
        self._add_records(len(data))
        return self._write_records()

    def _add_records(self, size: int) -> int:
        records = self._session.data_to_send()
        if records:
            self._records = memoryview(bytes(self._records) + records)
        self._size += size
        return len(records)

    def _write_records(self) -> bool:
        """Write the waiting records; whether the kernel took all."""
        if not self._records:
            return True
        assert self.sock is not None
        try:
            sent = self.sock.send(self._records)
        except OSError as error:
            if not self._takes_later(error):
                return False
            sent = 0
        self._records = self._records[sent:]
        if self._records:
            return False
        self.left += self._size
        self._size = self.session_size = 0
        return True

    def _clear(self) -> None:
        super()._clear()
        self._records = memoryview(b"")
        self._size = self.session_size = 0
