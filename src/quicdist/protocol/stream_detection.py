"""Detects a distribution stream by its first bytes.

A peer may use more data streams than this node; the handshake does not tell their number. A user stream does
not begin like a frame by chance: length, header and control message fix about 60 bits.
"""

from __future__ import annotations

from typing import Final

_SMALL_TUPLE, _SMALL_INTEGER = 104, 97
#: Elements of a control message, the operation included (ERTS User's Guide, *Distribution Protocol*).
_ARITIES: Final = range(2, 9)
#: Bytes of a frame: a header, a tuple and its first element.
_SHORTEST: Final = 6


def begins_with_frame(data: bytes, max_frame: int) -> bool | None:
    """Whether a stream that begins with ``data`` begins with a frame of at most ``max_frame`` bytes; None if
    more bytes are needed to decide. It takes 26 at most: a length, the header of a first fragment, a tuple
    and its first element."""
    size = len(data)
    length = int.from_bytes(data[:4].ljust(4, b"\0"))
    if length > max_frame or (size >= 4 and length < _SHORTEST):
        return False
    kind = data[4:6]
    if b"\x83\x44\0".startswith(data[4:7]):  # 131, 68, and no atom cache references
        start = 7
    elif b"\x83\x45".startswith(kind):  # 131, 69, a sequence number, fragments left, no references
        start = 23
        if not (b"\0\0\0\0".startswith(data[14:18]) and b"\0".startswith(data[22:23])):
            return False
    elif b"\x70\x83".startswith(kind):  # 112, 131
        start = 6
    else:
        return False
    if size < start + 3:
        return None
    tag, arity, element = data[start : start + 3]
    return tag == _SMALL_TUPLE and arity in _ARITIES and element == _SMALL_INTEGER
