"""The bytes of a user stream that were received and not read."""

from __future__ import annotations

from collections import deque


class ReceiveBuffer:
    """A queue of bytes, read in pieces of any size without copying what is left."""

    __slots__ = ("_chunks", "_start")

    def __init__(self) -> None:
        self._chunks: deque[bytes] = deque()
        #: Bytes of the first chunk that were read.
        self._start = 0

    def __bool__(self) -> bool:
        return bool(self._chunks)

    def append(self, data: bytes) -> None:
        """Add ``data``, at least one byte."""
        self._chunks.append(data)

    def take(self, n: int) -> bytes:
        """Up to ``n`` bytes from the front."""
        chunks = self._chunks
        parts: list[bytes] = []
        missing = n
        while chunks and missing:
            chunk, start = chunks[0], self._start
            if len(chunk) - start <= missing:
                parts.append(chunk[start:])
                chunks.popleft()
                self._start = 0
            else:
                parts.append(chunk[start : start + missing])
                self._start += missing
            missing -= len(parts[-1])
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def take_all(self) -> bytes:
        """All bytes."""
        data = b"".join(self._chunks)[self._start :]
        self.clear()
        return data

    def clear(self) -> None:
        """Drop all bytes."""
        self._chunks.clear()
        self._start = 0
