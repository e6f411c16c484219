"""Flags against OTP's own header and tables; node names against OTP's own rules."""

from __future__ import annotations

import pytest

from quicdist.protocol import (
    DEFAULT_FLAGS,
    MANDATORY,
    MANDATORY_25,
    MANDATORY_26,
    DistFlag,
    InvalidNodeName,
    NodeName,
    is_node_name,
    parse_node_name,
    validate_node_name,
)
from quicdist.protocol.flags import expand, missing
from tests.support.beam import Beam, erl_facts


@pytest.mark.beam
def test_the_beam_offers_and_requires_flags_that_are_known(beam: Beam) -> None:
    default, mandatory = (int(beam.eval_now(f"element({n}, erts_internal:get_dflags())")) for n in (2, 3))
    assert DistFlag(mandatory) & ~MANDATORY == 0
    assert MANDATORY_25 & ~mandatory == 0
    if erl_facts()[0] >= 26:
        assert mandatory == MANDATORY
    known = sum(flag.value for flag in DistFlag)
    assert default & ~known == 0
    assert missing(default) == 0


@pytest.mark.beam
def test_what_is_offered_is_what_a_beam_offers_but_for_the_atom_cache(beam: Beam) -> None:
    default = int(beam.eval_now("element(2, erts_internal:get_dflags())"))
    newer = DistFlag.ALTACT_SIG | DistFlag.NATIVE_RECORDS
    assert DEFAULT_FLAGS & ~newer == default & ~newer & ~DistFlag.DIST_HDR_ATOM_CACHE


@pytest.mark.beam
def test_mandatory_flags_are_those_of_the_header(beam: Beam) -> None:
    source = beam.eval_bytes_now(
        '{ok, B} = file:read_file(filename:join([code:lib_dir(kernel), "include", "dist.hrl"])), B'
    ).decode()
    for flag in DistFlag:
        name = f"DFLAG_{flag.name},"
        if flag in (DistFlag.ALTACT_SIG, DistFlag.NATIVE_RECORDS) and name not in source:
            continue  # of a later OTP
        line = next(line for line in source.splitlines() if f"-define({name}" in line)
        number = line.split(",", 1)[1].split("%")[0].strip().rstrip(".").removesuffix(")").strip()
        base, _, shift = number.strip("()").partition(" bsl ")
        assert int(base.replace("16#", ""), 16) << int(shift or 0) == flag, line
    for name, flags in (("MANDATORY_DFLAGS_25", MANDATORY_25), ("MANDATORY_DFLAGS_26", MANDATORY_26)):
        if erl_facts()[0] >= int(name[-2:]):
            body = source.split(f"-define({name},")[1].split(").\n")[0]
            words = {word.strip("?() \n") for word in body.split("bor")}
            assert words == {f"DFLAG_{flag.name}" for flag in flags}


def test_the_digest_flag_stands_for_all_that_otp_25_requires() -> None:
    offered = DistFlag.MANDATORY_25_DIGEST | MANDATORY_26
    assert missing(offered) == 0
    assert expand(offered) & MANDATORY_25 == MANDATORY_25
    assert missing(MANDATORY & ~DistFlag.BIG_CREATION) == DistFlag.BIG_CREATION


def test_unknown_bits_are_kept() -> None:
    assert int(expand(1 << 63 | 1)) == 1 << 63 | 1


@pytest.mark.parametrize("name", ["a@b", "a@b.c", "a@127.0.0.1", "a@::1", "x_y-9@h", "caf\u00e9@h"])
def test_good_names(name: str) -> None:
    alive, _, host = name.partition("@")
    assert parse_node_name(name) == NodeName(alive, host)
    assert str(parse_node_name(name)) == name


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "form"),
        ("a", "form"),
        ("@b", "form"),
        ("a@", "form"),
        ("a@b@c", "form"),
        ("a@" + "b" * 254, "256 characters"),
        ("a@\u0142\u00f3d\u017a", "outside Latin-1"),
        ("a\n@b", "printed"),
        ("a@b\x9b", "printed"),
    ],
)
def test_bad_names(name: str, why: str) -> None:
    with pytest.raises(InvalidNodeName, match=why):
        parse_node_name(name)


@pytest.mark.parametrize("name", ["caf\u00e9@h", "a.b@h", "a b@h", "a+@h"])
def test_names_that_no_node_may_take(name: str) -> None:
    with pytest.raises(InvalidNodeName):
        validate_node_name(name)


@pytest.mark.parametrize(("name", "long"), [("a@b", False), ("a@b.c", True), ("a@::1", True)])
def test_long_and_short_names(name: str, long: bool) -> None:
    assert validate_node_name(name).is_long is long


@pytest.mark.beam
@pytest.mark.parametrize("name", ["a@b", "a", "@b", "a@", "a@b@c", "", "@", "a@b.c"])
def test_is_node_name_agrees_with_otp(beam: Beam, name: str) -> None:
    assert str(is_node_name(name)).lower() == beam.eval_now(f'dist_util:is_node_name("{name}")')
