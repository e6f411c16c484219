"""epmd's messages byte by byte; the bytes are what ``erl`` and ``epmd`` of OTP 25 exchange."""

from __future__ import annotations

import pytest

from quicdist.discovery import epmd_messages as wire


def test_alive2_req_equals_erls_except_for_the_lowest_version() -> None:
    # Sent by `erl -name x@127.0.0.1`, OTP 25, listening at 33509. Its lowest version is 5, ours 6.
    recorded = bytes.fromhex("000e 78 82e5 4d 00 0006 0005 0001 78 0000")
    ours = wire.alive2_req("x", 0x82E5, wire.NodeType.NORMAL)
    assert ours == recorded[:9] + b"\0\6" + recorded[11:]


def test_alive2_req_of_a_hidden_node_with_a_name_beyond_ascii() -> None:
    assert wire.alive2_req("ж", 1, wire.NodeType.HIDDEN) == bytes.fromhex(
        "000f 78 0001 48 00 0006 0006 0002 d0b6 0000"
    )


def test_port_please2_req_and_names_req() -> None:
    assert wire.port_please2_req("ab") == b"\0\3zab"
    assert wire.names_req() == b"\0\1n"


@pytest.mark.parametrize(
    ("answer", "creation"),
    [
        (bytes.fromhex("76 00 660a1b2c"), 0x660A1B2C),
        (bytes.fromhex("79 00 0003"), 3),
        (bytes.fromhex("76 01 00000063"), None),
        (bytes.fromhex("79 01 0063"), None),
    ],
    ids=["ALIVE2_X_RESP", "ALIVE2_RESP", "taken, 32 bits", "taken, 16 bits"],
)
def test_alive2_answers(answer: bytes, creation: int | None) -> None:
    assert wire.alive2_answer_size(answer[0]) == len(answer)
    assert wire.alive2_answer(answer) == creation


def test_an_answer_of_another_kind_is_told_by_its_first_byte() -> None:
    with pytest.raises(wire.MalformedAnswer, match="begins with 119, expected 118 or 121"):
        wire.alive2_answer_size(ord("w"))
    with pytest.raises(wire.MalformedAnswer, match="begins with 118, expected 119"):
        wire.port2_head(b"v\0")


def test_port2_resp() -> None:
    assert wire.port2_head(b"w\0") is True
    assert wire.port2_head(b"w\1") is False
    body = wire.port2_body(bytes.fromhex("82e5 4d 00 0006 0005"))
    assert body == wire.PortInfo(0x82E5, wire.NodeType.NORMAL, 0, 6, 5)


def test_port_zero_is_refused() -> None:
    with pytest.raises(wire.MalformedAnswer, match="port 0"):
        wire.port2_body(bytes.fromhex("0000 4d 00 0006 0005"))


def test_names() -> None:
    assert wire.names_body(b"") == []
    assert wire.names_body(b"name a at port 4501\nname b_1 at port 65535\n") == [("a", 4501), ("b_1", 65535)]


@pytest.mark.parametrize(
    "line", [b"name a at port x\n", b"name a at 12\n", b"node a at port 1\n", b"\0\0\0\1"]
)
def test_a_line_that_is_no_name_is_refused_and_shown(line: bytes) -> None:
    with pytest.raises(wire.MalformedAnswer, match="in NAMES_RESP"):
        wire.names_body(line)
