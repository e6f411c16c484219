"""Whether a stream begins with a frame of the distribution.

For a peer that has more data streams than is known here: nothing in a handshake tells their number. No
stream of an application begins so by chance: the length, the header and the beginning of the control message
leave some 60 bits to no choice.
"""

from __future__ import annotations

from typing import Final

#: Bytes that decide at most: a length, the header of a first fragment, a tuple and its first element.
LONGEST: Final = 26

_SMALL_TUPLE, _SMALL_INTEGER = 104, 97
#: Elements of a control message, the operation included (ERTS User's Guide, *Distribution Protocol*).
_ARITIES: Final = range(2, 9)
#: Bytes of a frame: a header, a tuple and its first element.
_SHORTEST: Final = 6


def begins_with_frame(data: bytes, max_frame: int) -> bool | None:
    """Whether ``data``, the first bytes of a stream, are those of a frame with a message that is no longer
    than ``max_frame`` bytes; None if more of it has to come before that can be said."""
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
