"""A message passes the files that ``docs/explanation/message-path.md`` lists, in that order."""

from __future__ import annotations

import asyncio
import re
import sys
from collections import deque
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from quicdist import Process
from scripts.draw_message_path import PICTURE, draw
from tests.support.imports import SOURCE
from tests.support.pairs import CARRIERS, LISTENER, pair

PAGE = SOURCE.parent.parent / "docs" / "explanation" / "message-path.md"


def listed(section: str, carrier: str) -> list[str]:
    """The files of a section that a message passes over ``carrier``."""
    text = PAGE.read_text().partition(f"## {section}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `([\w/]+\.py)` \| .* \| (✓?) ?\| (✓?) ?\|$", text, re.M)
    assert len(rows) > 10
    return [file for file, quic, tcp in rows if (quic if carrier == "quic" else tcp)]


MESSAGE = b"a message with bytes that nothing else has"
#: The functions that the event loop calls when a socket can be read.
READS = {"_readable", "data_received"}
#: Functions that are handed the packet for something else in it: an ACK frame.
OTHER_FRAMES = {"read_ack", "read_uint"}
#: They are not handed the bytes, but give them: out of aioquic's buffer of a stream, and out of the socket.
GIVES = {"get_frame", "_readable"}


class Trace:
    """Records the files in which functions of quicdist are handed the message, in each direction."""

    def __init__(self) -> None:
        self._calls: list[tuple[str, str, list[Any]]] = []

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        path = Path(frame.f_code.co_filename)
        if event == "call" and path.is_relative_to(SOURCE):
            code = frame.f_code
            names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
            values = [copied(frame.f_locals[name]) for name in names if name in frame.f_locals]
            self._calls.append((str(path.relative_to(SOURCE)), code.co_name, values))

    def files(self) -> tuple[list[str], list[str]]:
        """The files that were handed the message, sending and receiving, each run of calls as one."""
        datagrams = [
            value
            for file, name, values in self._calls
            if file == "carrier/udp.py" and name == "send"
            for value in flat(values)
            if len(value) > len(MESSAGE)
        ]
        reads = next(number for number, (_, name, _) in enumerate(self._calls) if name in READS)
        sent, received = self._calls[:reads], self._calls[reads:]
        return handed(sent, datagrams), handed(received, datagrams)


def copied(value: Any, depth: int = 3) -> Any:
    """What an argument holds now: buffers change later."""
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    if isinstance(value, tuple | list | deque) and depth:
        return [copied(each, depth - 1) for each in value]
    data = getattr(value, "data", None)
    return bytes(data) if isinstance(data, bytes | bytearray | memoryview) else None


def flat(value: Any) -> Iterator[bytes]:
    if isinstance(value, bytes):
        yield value
    elif isinstance(value, list):
        for each in value:
            yield from flat(each)


def holds(value: Any, datagrams: list[bytes]) -> bool:
    return any(part in data for data in flat(value) for part in (MESSAGE, *datagrams))


def handed(calls: list[tuple[str, str, list[Any]]], datagrams: list[bytes]) -> list[str]:
    files = [
        file
        for file, name, values in calls
        if name in GIVES or (name not in OTHER_FRAMES and holds(values, datagrams))
    ]
    return [file for file, _ in groupby(files)]


@pytest.mark.parametrize("carrier", CARRIERS)
async def test_a_message_passes_the_listed_files_in_order_and_no_others(carrier: str, tmp_path: Path) -> None:
    trace, before = Trace(), sys.getprofile()
    arrived = {b"first": asyncio.Event(), MESSAGE: asyncio.Event()}
    async with pair(carrier, tmp_path) as (dialler, listener):

        @listener.process("handler")
        def handle(process: Process, message: Any) -> None:
            sys.setprofile(before)
            arrived[message].set()

        async def send(process: Process) -> None:
            process.send(("handler", LISTENER), b"first")  # connects, and opens a stream
            await arrived[b"first"].wait()
            sys.setprofile(trace)
            process.send(("handler", LISTENER), MESSAGE)

        dialler.spawn(send)
        async with asyncio.timeout(10):
            await arrived[MESSAGE].wait()
    sent, received = trace.files()
    assert list(dict.fromkeys(sent)) == listed("From Process.send to the socket", carrier)
    assert list(dict.fromkeys(received)) == listed("From the socket to a handler", carrier)


def test_the_path_over_quic_is_two_thirds_of_what_it_was() -> None:
    """It was 26 files before the layout of 0.2."""
    sections = ("From Process.send to the socket", "From the socket to a handler")
    files = {file for section in sections for file in listed(section, "quic")}
    assert len(files) <= 26 * 2 / 3


def test_the_picture_is_drawn_from_the_tables() -> None:
    assert PICTURE.read_text() == draw()
