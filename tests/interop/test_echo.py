"""The main job with the echo server: terms there and back, compared by the BEAM."""

from __future__ import annotations

import pytest

from examples.echo_node import Echo
from tests.interop.cluster import Cluster
from tests.support.beam import erl_facts

pytestmark = pytest.mark.smoke

MEBIBYTE = 1 << 20

_ROUND_TRIP = """
RoundTrip = fun(Term) -> {echo, PY} ! {self(), Term}, receive Term -> true after 30000 -> false end end
"""


async def test_a_large_binary_comes_back_whole(pair: Cluster) -> None:
    pair.node.serve(Echo(), name="echo")
    await pair.eval(_ROUND_TRIP)
    assert await pair.eval(f"RoundTrip(rand:bytes({MEBIBYTE}))") == "true"
    # quic 0.11.0 takes 8 MiB on one stream, and then no more of anything.
    larger = 4 if pair.carrier == "quic" and erl_facts()[1] == "0.11.0" else 8
    assert await pair.eval(f"RoundTrip(rand:bytes({larger * MEBIBYTE}))") == "true"


async def test_gen_server_call_and_cast(pair: Cluster) -> None:
    pair.node.serve(Echo(), name="echo")
    assert await pair.eval('gen_server:call({echo, PY}, {some, <<"term">>})') == '{some,<<"term">>}'
    assert await pair.eval("gen_server:call({echo, PY}, self()) =:= self()") == "true"


@pytest.mark.parametrize("count", [500])
async def test_a_pair_stays_in_order(pair: Cluster, count: int) -> None:
    pair.node.serve(Echo(), name="echo")
    got = await pair.eval(
        f"[{{echo, PY}} ! {{self(), {{n, N}}}} || N <- lists:seq(1, {count})],"
        f"[receive {{n, M}} -> M after 30000 -> timeout end || _ <- lists:seq(1, {count})]"
        f" =:= lists:seq(1, {count})"
    )
    assert got == "true"
