"""I/O requests to this node's group leader, and of this node to its own processes."""

from __future__ import annotations

import io
from typing import Any

import pytest

from quicdist import ANY, Atom, CallTimeout, Node, NodeError, NoSuchProcess, Process

REQUEST, REPLY = Atom("io_request"), Atom("io_reply")
UNICODE, LATIN1 = Atom("unicode"), Atom("latin1")
PUT = Atom("put_chars")


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        ((Atom("get_line"), UNICODE, "?"), Atom("eof")),
        ((Atom("get_until"), UNICODE, "?", Atom("m"), Atom("f"), []), (Atom("error"), Atom("f"))),
        ((Atom("get_chars"), UNICODE, "?", 2), Atom("eof")),
        ((Atom("get_password"), UNICODE), Atom("eof")),
        ((Atom("get_geometry"), Atom("columns")), (Atom("error"), Atom("enotsup"))),
        ((Atom("setopts"), [Atom("binary"), (Atom("echo"), True)]), (Atom("error"), Atom("enotsup"))),
        ((PUT, UNICODE, Atom("erlang"), Atom("halt"), []), (Atom("error"), Atom("request"))),
        ((PUT,), (Atom("error"), Atom("request"))),
        ((), (Atom("error"), Atom("request"))),
    ],
)
async def test_answers_to_io_requests(node: Node, request_: Any, answer: Any) -> None:
    process = node._local.runtime.add_process()
    process.send("user", (REQUEST, process.pid, 1, request_))
    assert await process.receive((REPLY, 1, ANY)) == (REPLY, 1, answer)


async def test_options_are_set_all_or_none(node: Node) -> None:
    getopts, setopts = Atom("getopts"), Atom("setopts")
    with pytest.raises(NodeError, match="enotsup"):
        await node.io.request("user", (setopts, [Atom("binary"), Atom("nonsense")]))
    assert await node.io.request("user", getopts) == [(Atom("binary"), False), (Atom("encoding"), UNICODE)]
    await node.io.request("user", (setopts, [Atom("binary")]))
    assert (await node.io.request("user", getopts))[0] == (Atom("binary"), True)


async def test_characters_that_the_output_cannot_encode_are_escaped(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is shown somehow, or refused; the group leader lives on."""
    raw = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(raw, encoding="ascii"))
    await node.io.put_chars("user", "λ\n")
    assert raw.getvalue() == b"\\u03bb\n"
    raw.close()
    with pytest.raises(NodeError, match="terminated"):
        await node.io.put_chars("user", "x\n")
    assert node.whereis("user") is not None


async def test_a_writer_sends_complete_lines(node: Node) -> None:
    written: list[Any] = []
    device = node.spawn(lambda _, message: written.append(message[3]))
    file = node.io.writer(device)
    print("one", "two", file=file)
    print("a\nb", end="", file=file)
    assert written == [(PUT, UNICODE, "one two\n"), (PUT, UNICODE, "a\n")]
    file.flush()
    file.flush()
    assert written[2:] == [(PUT, UNICODE, "b")]


async def test_a_device_that_does_not_exist_or_answers_no_text_is_an_error(node: Node) -> None:
    async def ends(process: Process) -> None:
        await process.receive()

    with pytest.raises(CallTimeout):
        await node.io.put_chars(node.spawn(lambda *_: None), "x", timeout=0.01)
    with pytest.raises(NodeError, match="ended: normal"):
        await node.io.put_chars(node.spawn(ends), "x")
    with pytest.raises(NoSuchProcess):
        await node.io.get_line(("nobody", node.name))
    device = node.spawn(lambda process, request: process.send(request[1], (REPLY, request[2], Atom("x"))))
    with pytest.raises(NodeError, match=r"expected text from .*, got x"):
        await node.io.get_line(device)
