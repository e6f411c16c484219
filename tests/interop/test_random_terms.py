"""Ten thousand random terms made by a BEAM, to the echo node and back: the BEAM finds all of them equal."""

from __future__ import annotations

import random

from examples.echo_node import Echo
from tests.interop.cluster import Cluster
from tests.support.beam import erl_facts
from tests.support.terms import load_random_terms

COUNT = 10_000
#: Terms on their way at one time.
IN_FLIGHT = 50
#: Levels below a term, and bytes of the largest binaries: 16 MB in all.
SIZES = "2, 1000"
#: 7 MB in all: quic 0.11.0 never lets a peer send more than 8 MiB on one stream (its
#: MAX_STREAM_DATA stops there; mended in 1.3), so that any two nodes get stuck then.
SIZES_0_11 = "1, 300"

#: One process sends and compares. What it sends to one process, and what that sends back, stays in
#: order, so each term is compared with the one that comes next. Its exit reason is the result.
_ROUND_TRIPS = f"""
{{_, Monitor}} = spawn_monitor(fun() ->
  Compare = fun(Term) ->
    receive Term -> true; Other -> exit({{sent, Term, got, Other}}) after 30000 -> exit({{lost, Term}}) end
  end,
  Some = fun(Seed) ->
    Terms = random_terms:terms(Seed, {IN_FLIGHT}, SIZES),
    [{{echo, PY}} ! {{self(), Term}} || Term <- Terms],
    length([Compare(Term) || Term <- Terms])
  end,
  exit({{equal, lists:sum([Some(SEED + N) || N <- lists:seq(1, {COUNT // IN_FLIGHT})])}})
end),
receive {{'DOWN', Monitor, _, _, Result}} -> Result end
"""


async def test_ten_thousand_random_terms_come_back_the_same(pair: Cluster) -> None:
    pair.node.serve(Echo(), name="echo")
    load_random_terms(pair.beam)
    seed = random.randrange(1 << 30)
    old = pair.carrier == "quic" and erl_facts()[1] == "0.11.0"
    source = _ROUND_TRIPS.replace("SIZES", SIZES_0_11 if old else SIZES)
    result = await pair.eval(source.replace("SEED", str(seed)))
    assert result == f"{{equal,{COUNT}}}", f"seed {seed}"
