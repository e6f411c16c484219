"""``quicdist decode``: terms and frames from bytes, hex and base64."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from quicdist import Atom, Pid, term_to_binary
from quicdist.cli.json_terms import dumps
from quicdist.protocol import DEFAULT_FLAGS, DistConnection, LocalIdentity, Peer, RegSend, StreamPlan
from quicdist.term import Codec
from tests.cli.command import run

TERM = (Atom("ok"), {Atom("k"): [1, b"text", None]})
TEXT = '{ok,#{k => [1,<<"text">>,undefined]}}\n'
DATA = term_to_binary(TERM)


@pytest.mark.parametrize(
    "written",
    [
        DATA,
        DATA.hex().encode(),
        b"0x" + DATA.hex().upper().encode() + b"\n",
        base64.b64encode(DATA) + b"\n",
        base64.urlsafe_b64encode(DATA).rstrip(b"="),
        str(list(DATA)).replace("[", "<<").replace("]", ">>").encode(),
    ],
    ids=["bytes", "hex", "HEX", "base64", "base64url", "binary"],
)
def test_the_form_is_found_out(written: bytes, tmp_path: Path) -> None:
    (tmp_path / "term").write_bytes(written)
    assert run("decode", str(tmp_path / "term")) == (0, TEXT, "")


def test_several_terms_are_printed_one_after_the_other(tmp_path: Path) -> None:
    packed = term_to_binary([7] * 1000, compressed=9)
    (tmp_path / "terms").write_bytes(DATA + packed + term_to_binary(1))
    status, out, err = run("decode", str(tmp_path / "terms"), "--json")
    assert (status, err) == (0, "")
    assert list(map(json.loads, out.splitlines())) == [
        ["ok", {"k": [1, "text", "undefined"]}],
        [7] * 1000,
        1,
    ]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (DATA[:-1].hex(), "ends in the middle of a term"),
        ("83", "no term in 1 bytes"),
        ("0102", "expected the version byte 131, got 1"),
        ((DATA + b"x").hex(), "expected the version byte 131, got 120"),
        ("83500000000affff", "a compressed term that zlib cannot read"),
    ],
)
def test_what_is_no_term(text: str, error: str) -> None:
    status, _, err = run("decode", "--text", text, "--format", "hex")
    assert status == 1
    assert err.startswith("quicdist: ")
    assert error in err


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("--text", "%"), "this is neither a term (first byte 131), nor hex, nor base64"),
        (("--text", "xyz", "--format", "hex"), "this is no hex"),
        (("--text", "123", "--format", "hex"), "an odd number of hex digits: 3"),
        (("no/such/file",), "No such file"),
    ],
)
def test_what_is_no_way_to_write_bytes(arguments: tuple[str, ...], error: str) -> None:
    status, out, err = run("decode", *arguments)
    assert (status, out) == (2, "")
    assert error in err


class TestFrames:
    def frames(self) -> bytes:
        peer = Peer("a@h", 1, DEFAULT_FLAGS, DEFAULT_FLAGS)
        connection = DistConnection(
            peer, LocalIdentity("b@h", 2), codec=Codec(), streams=StreamPlan.single(), fragment_size=1000
        )
        sender = Pid(Atom("b@h"), 85, 0, 2)
        small = connection.send(RegSend(sender, Atom(""), Atom("echo")), (Atom("hello"), 1))[1]
        fragments = connection.send(RegSend(sender, Atom(""), Atom("echo")), b"x" * 2500)[1]
        return b"".join([*small, connection.tick()[1], *fragments])

    def test_each_message_is_its_control_message_and_its_payload(self, tmp_path: Path) -> None:
        (tmp_path / "frames").write_bytes(self.frames())
        status, out, err = run("decode", "--frames", str(tmp_path / "frames"))
        assert (status, err) == (0, "")
        first, second = out.splitlines()
        assert first == "REG_SEND from_pid=<b@h.85.0> to_name=echo: {hello,1}"
        assert second == f'REG_SEND from_pid=<b@h.85.0> to_name=echo: <<"{"x" * 2500}">>'

    def test_as_json(self) -> None:
        status, out, _ = run("decode", "--frames", "--json", "--text", self.frames().hex())
        assert status == 0
        assert json.loads(out.splitlines()[0]) == {
            "op": "REG_SEND",
            "from_pid": "<0.85.0>",
            "to_name": "echo",
            "payload": ["hello", 1],
        }

    def test_a_frame_that_is_not_complete(self) -> None:
        status, out, err = run("decode", "--frames", "--text", self.frames()[:-3].hex())
        assert (status, out.count("\n")) == (1, 1)
        assert err == "quicdist: 3 bytes of the last frame are missing\n"

    def test_an_atom_cache_is_refused(self) -> None:
        status, _, err = run("decode", "--frames", "--text", "0000000583440100ff")
        assert status == 1
        assert "atom cache" in err


def test_keys_of_a_map_that_json_writes_alike_are_all_there() -> None:
    text = dumps({1: Atom("number"), b"1": Atom("binary"), b"a": Atom("letter")})
    assert json.loads(text) == {"1": "number", '<<"1">>': "binary", "a": "letter"}
