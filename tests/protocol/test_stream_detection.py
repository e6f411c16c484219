"""Frames of the distribution and bytes of applications, told apart by how a stream begins."""

from __future__ import annotations

import pytest

from quicdist.protocol import DEFAULT_FLAGS, NO_PAYLOAD, DistFlag, MonitorP, RegSend
from quicdist.protocol.frames import MAX_FRAME
from quicdist.protocol.stream_detection import begins_with_frame
from quicdist.term import Atom, Pid, Reference
from tests.protocol.pair import connection

NAME = "a@127.0.0.1"
#: Bytes that always suffice to decide.
LONGEST = 26
PID = Pid(NAME, 1, 2, 3)

#: In dist-header form, in fragments, in pass-through form, and one without a payload.
FRAMES = {
    "header": (DEFAULT_FLAGS, RegSend(PID, Atom(""), Atom("x")), b"hello"),
    "fragments": (DEFAULT_FLAGS, RegSend(PID, Atom(""), Atom("x")), bytes(200_000)),
    "pass-through": (DEFAULT_FLAGS & ~DistFlag.FRAGMENTS, RegSend(PID, Atom(""), Atom("x")), b"hello"),
    "monitor": (DEFAULT_FLAGS, MonitorP(PID, Atom("x"), Reference(NAME, (1, 2, 3), 3)), NO_PAYLOAD),
}


@pytest.mark.parametrize("form", FRAMES)
def test_a_message_is_known_by_its_first_bytes_however_few_come_at_once(form: str) -> None:
    flags, control, payload = FRAMES[form]
    _, parts = connection(flags).send(control, payload)
    data = b"".join(parts)
    verdicts = [begins_with_frame(data[:size], MAX_FRAME) for size in range(LONGEST + 1)]
    known = verdicts.index(True)
    assert verdicts == [None] * known + [True] * (LONGEST + 1 - known)
    assert begins_with_frame(data, MAX_FRAME)


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n",
        b"ping",
        b"\x7fELF",
        b"\0\0\0\0",
        b"\0\0\0\x05hello",
        b"\0\0\0\x20\x83h\x02a\x01",  # a term with its length before it
        b"\0\0\0\x20\x83D\x01h\x02a\x01",  # atom cache references, which are not negotiated
        b"\0\0\0\x20\x83D\0m\0\0\0\x05hello",  # no control message
        b"\0\0\0\x20pgdump",
    ],
)
def test_bytes_of_an_application_are_not_taken_for_a_message(data: bytes) -> None:
    assert begins_with_frame(data, MAX_FRAME) is False


def test_a_length_beyond_the_longest_frame_is_no_message() -> None:
    data = b"\x08\0\0\x01\x83D\0h\x04a\x06"
    assert begins_with_frame(data, MAX_FRAME) is False
    assert begins_with_frame(data, MAX_FRAME + 1) is True
