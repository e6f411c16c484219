"""Input by Erlang's I/O protocol: a BEAM reads from a Python device, and Python from a BEAM's."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from quicdist import Atom, NodeError, Pid, parse_term
from tests.interop.carriers import CARRIERS
from tests.interop.conformance_pair import Beams, ConformancePair, conformance_pair, two_beams
from tests.interop.erlang_snippets import APART

#: Opens a device that holds a text: a file of the model.
DEVICES_ERL = r"""
-module(devices).
-compile([export_all, nowarn_export_all]).
open(Text) ->
  Self = self(),
  spawn(fun() ->
    Name = filename:join("DIRECTORY", integer_to_list(erlang:unique_integer([positive]))),
    ok = file:write_file(Name, Text),
    {ok, Device} = file:open(Name, [read, {encoding, utf8}]),
    Self ! {opened, Device},
    receive never -> ok end end),
  receive {opened, Device} -> Device end.
"""

RAW = "Raw = fun(Q) -> R = make_ref(), D ! {io_request, self(), R, Q}, receive {io_reply, R, A} -> A end end,"

READS = {
    "get_line": ("one\nh\u00e9 \u03bb\nlast", "[io:get_line(D, '> ') || _ <- [1, 2, 3, 4, 5]]"),
    "get_line of CRLF": ("one\r\ntwo\r\n", "[io:get_line(D, '') || _ <- [1, 2, 3]]"),
    "get_chars": ("ab\ncdefg\u03bb", "[io:get_chars(D, '', N) || N <- [1, 0, 3, 2, 9, 1]]"),
    "get_chars and get_line": (
        "one\ntwo\nthree\n",
        "[io:get_chars(D, '', 2), io:get_line(D, ''), io:get_chars(D, '', 5), io:get_line(D, '')]",
    ),
    "read": (
        "{a, \"b\", [1 | 2]}. x.\n#{k =>\n <<1>>}.\n \n'end'.\n",
        "[io:read(D, '> ') || _ <- [1, 2, 3, 4, 5]]",
    ),
    "read of no term": ("{a. b.\nfun. 'x.\n", "[element(1, io:read(D, '')) || _ <- [1, 2]]"),
    "read with lines": ("a.\n\n\nb.\n", "[io:read(D, '', L) || L <- [1, 5, 1]]"),
    "fread": (
        "12 -3.5 word\n7\n x",
        '[io:fread(D, \'\', F) || F <- ["~d ~f ~s", "~d", "~s", "~d"]]',
    ),
    "fread of something else": ("word\n", "io:fread(D, '', \"~d\")"),
    "parse_erl_exprs": ("X = 1,\nX + 2.\n", "io:parse_erl_exprs(D, '')"),
    "scan_erl_form": ("f() ->\n ok.\n", "io:scan_erl_form(D, '', 1)"),
    "binaries": (
        "h\u00e9\n\u03bbxyz\nlast\n",
        "ok = io:setopts(D, [binary]), [io:get_line(D, ''), io:get_chars(D, '', 2), io:get_line(D, '')]",
    ),
    "fread as binaries": ("12 word\n", "ok = io:setopts(D, [binary]), io:fread(D, '', \"~d ~s\")"),
    "latin1": (
        "h\u00e9\nabc\n",
        f"{RAW} [Raw(Q) || Q <- [{{get_line, latin1, ''}}, {{get_chars, latin1, '', 2}}]]",
    ),
    "without an encoding": (
        "h\u00e9\nabc\n{a}.\n",
        f"{RAW} [Raw(Q) || Q <- [{{get_line, ''}}, {{get_chars, '', 2}}, {{get_line, ''}},"
        " {get_until, '', erl_scan, tokens, [1]}]]",
    ),
    "requests": (
        "one\ntwo\nthree\n",
        f"{RAW} A = Raw({{requests, [{{get_line, unicode, ''}}, {{get_chars, unicode, '', 2}}]}}),"
        " {A, io:get_line(D, '')}",
    ),
    "requests until one fails": (
        "one\ntwo\n",
        f"{RAW} {{error, _}} = Raw({{requests, [{{get_line, unicode, ''}}, {{nonsense}},"
        " {get_line, unicode, ''}]}), io:get_line(D, '')",
    ),
    "what is no request": (
        "one\n",
        f"{RAW} [element(1, Raw(Q)) || Q <- [{{get_line}}, {{get_line, a, b, c, d, e, f}},"
        " {get_chars, unicode, '', x}, {get_chars, unicode, '', -1}, {get_until, unicode, ''}]]"
        " ++ [io:get_line(D, '')]",
    ),
    "eof": ("", "[io:get_line(D, ''), io:get_chars(D, '', 1), io:read(D, ''), io:fread(D, '', \"~d\")]"),
}


@pytest.fixture(scope="module", params=CARRIERS)
def beams(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Beams]:
    directory = tmp_path_factory.mktemp("beams")
    source = DEVICES_ERL.replace("DIRECTORY", str(directory))
    with two_beams(request.param, directory, [source]) as both:
        yield both


@pytest_asyncio.fixture
async def conformance(beams: Beams) -> AsyncIterator[ConformancePair]:
    async with conformance_pair(beams) as both:

        @both.node.export("devices")
        def open(text: bytes) -> Pid:
            return both.node.io.start_device(io.StringIO(text.decode(), newline=""), io.StringIO()).pid

        yield both


@pytest.mark.parametrize("read", READS)
async def test_input_of_a_device(conformance: ConformancePair, read: str) -> None:
    text, source = READS[read]
    data = "<<" + ",".join(map(str, text.encode())) + ">>"
    got = await conformance.same(
        f"{APART} Apart(fun() -> D = erpc:call(PEER, devices, open, [{data}]), {source} end)"
    )
    assert "died" not in got


async def test_a_function_called_on_a_beam_reads_the_input_of_the_program(
    conformance: ConformancePair, capsys: pytest.CaptureFixture[str]
) -> None:
    node, model = conformance.node, conformance.model_name
    lines = ["a line\n", "{a, term}.\n", "12\n", "secret\n"]

    async def source() -> AsyncIterator[str]:
        for line in lines:
            yield line

    node.io.set_input(source())
    assert await node.call(model, "io", "get_line", [Atom("line? ")]) == [*b"a line\n"]
    assert await node.call(model, "io", "read", [[*b"term? "]]) == parse_term("{ok, {a, term}}.")
    assert await node.call(model, "io", "fread", [Atom("number? "), [*b"~d"]]) == (Atom("ok"), [12])
    leader = node._local.runtime.group_leader  # from OTP 28 on io:get_password/0 reads from user
    assert await node.call(model, "io", "get_password", [leader]) == [*b"secret"]
    assert await node.call(model, "io", "get_line", [Atom("")]) == Atom("eof")
    assert capsys.readouterr().out == "line? term? number? "


async def test_a_prompt_can_be_a_format(conformance: ConformancePair) -> None:
    prompts: list[str] = []

    async def ask(prompt: str) -> str | None:
        prompts.append(prompt)
        return "y" if len(prompts) < 2 else None

    conformance.node.io.set_input(ask)
    prompt = (Atom("format"), [*b"~p ~s "], [Atom("really"), [*b"now?"]])
    request = (Atom("get_line"), Atom("unicode"), prompt)
    answer = await conformance.node.call(
        conformance.model_name, "io", "request", [conformance.node._local.runtime.group_leader, request]
    )
    assert (answer, prompts) == ([*b"y\n"], ["really now? "])


async def test_what_a_lost_process_asked_for_is_left_to_the_next(conformance: ConformancePair) -> None:
    """The first process ends while it waits; the line is for the second."""
    lines: asyncio.Queue[str] = asyncio.Queue()
    waits = asyncio.Event()

    async def ask(prompt: str) -> str:
        waits.set()
        return await lines.get()

    device = conformance.node.io.start_device(ask)
    conformance.node.send(("beam_evaluator", conformance.beam_name), (Atom("device"), device.pid))
    source = "receive {device, D} -> D end, {P, M} = spawn_monitor(fun() -> io:get_line(D, '') end)"
    await conformance.beam.eval(source.replace("D", "Dev"))
    await waits.wait()
    await conformance.beam.eval("exit(P, kill), receive {'DOWN', M, _, _, _} -> ok end")
    await conformance.node.is_auth(conformance.beam_name)  # a round trip after the end of P
    asking = asyncio.ensure_future(
        conformance.node.call(conformance.beam_name, "io", "get_line", [device.pid, []])
    )
    await lines.put("for the second")
    assert await asking == [*b"for the second\n"]


async def test_functions_of_get_until_are_those_of_io_lib_and_erl_scan(conformance: ConformancePair) -> None:
    device = conformance.node.io.start_device(io.StringIO("x\n"))
    arguments = [device.pid, (Atom("get_until"), Atom("unicode"), "", Atom("erlang"), Atom("halt"), [1])]
    answer = await conformance.node.call(conformance.model_name, "io", "request", arguments)
    assert answer == (Atom("error"), Atom("halt"))


async def test_python_reads_from_a_device_of_a_beam(conformance: ConformancePair) -> None:
    client, model = conformance.node.io, conformance.model_name
    text = "one\nh\u00e9\n{a,\n 1}.\n7 word\n".encode()
    device = await conformance.node.call(model, "devices", "open", [text])
    assert (await client.getopts(device))["binary"] is False
    assert await client.get_line(device, "> ") == "one\n"
    await client.setopts(device, binary=True)
    assert await client.get_chars(device, 3) == "h\u00e9\n"
    assert await client.read(device) == (Atom("a"), 1)
    assert await client.fread(device, "~d ~s") == [7, [*b"word"]]
    assert await client.fread(device, "~d") is None
    assert await client.get_line(device) == ""
    with pytest.raises(EOFError):
        await client.read(device)
    with pytest.raises(NodeError, match="get_password"):
        await client.get_password(device)


async def test_python_reads_from_a_device_of_python(conformance: ConformancePair, tmp_path: Path) -> None:
    client = conformance.node.io
    path = tmp_path / "input"
    path.write_text("one\n{a, b}.\nsecret\nrest")
    with path.open() as file:
        output = io.StringIO()
        device = client.start_device(file, output, name="device")
        assert await client.get_line("device", "> ") == "one\n"
        assert await client.read(device) == (Atom("a"), Atom("b"))
        assert await client.get_password(device) == "secret"
        assert await client.get_chars(device, 10) == "rest"
        assert await client.get_line(device) == ""
        assert output.getvalue() == "> "
        with pytest.raises(NodeError, match="fread"):
            await client.fread(device, "~d")
