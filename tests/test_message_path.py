"""A message passes the files that ``docs/message-path.md`` lists, in that order."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from quicdist import Process
from tests.support.imports import SOURCE
from tests.support.pairs import CARRIERS, LISTENER, pair

PAGE = SOURCE.parent.parent / "docs" / "message-path.md"


def listed(section: str, carrier: str) -> list[str]:
    """The files of a section that a message passes over ``carrier``."""
    text = PAGE.read_text().partition(f"## {section}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `([\w/]+\.py)` \| .* \| (✓?) ?\| (✓?) ?\|$", text, re.M)
    assert len(rows) > 10
    return [file for file, quic, tcp in rows if (quic if carrier == "quic" else tcp)]


class Trace:
    """Records the files of quicdist in which functions are called, for sending and for receiving."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.received: list[str] = []

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        path = Path(frame.f_code.co_filename)
        if event == "call" and path.is_relative_to(SOURCE):
            reads = self.received or frame.f_code.co_name in READS
            (self.received if reads else self.sent).append(str(path.relative_to(SOURCE)))


#: The functions that the event loop calls when a socket can be read.
READS = {"_readable", "data_received"}


def missing(calls: list[str], expected: list[str]) -> list[str]:
    """The expected files from the first one on that is not called after those before it.

    Acknowledgements of earlier packets may be sent and received meanwhile.
    """
    left = iter(calls)
    for number, file in enumerate(expected):
        if file not in left:
            return expected[number:]
    return []


@pytest.mark.parametrize("carrier", CARRIERS)
async def test_a_message_passes_the_listed_files_in_order(carrier: str, tmp_path: Path) -> None:
    trace, before = Trace(), sys.getprofile()
    arrived = {b"first": asyncio.Event(), b"traced": asyncio.Event()}
    async with pair(carrier, tmp_path) as (dialler, listener):

        @listener.process("handler")
        def handle(process: Process, message: Any) -> None:
            sys.setprofile(before)
            arrived[message].set()

        async def send(process: Process) -> None:
            process.send(("handler", LISTENER), b"first")  # connects, and opens a stream
            await arrived[b"first"].wait()
            sys.setprofile(trace)
            process.send(("handler", LISTENER), b"traced")

        dialler.spawn(send)
        async with asyncio.timeout(10):
            await arrived[b"traced"].wait()
    assert missing(trace.sent, listed("From Process.send to the socket", carrier)) == []
    assert missing(trace.received, listed("From the socket to a handler", carrier)) == []


def test_a_file_that_a_message_does_not_pass_is_found() -> None:
    assert missing(["a", "b", "a", "c"], ["a", "b", "c"]) == []
    assert missing(["a", "b", "c"], ["b", "a", "c"]) == ["a", "c"]
