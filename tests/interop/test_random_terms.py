"""Ten thousand random terms made by a BEAM, to the echo node and back: the BEAM finds all of them equal."""

from __future__ import annotations

import random

from examples.echo_node import Echo
from tests.interop.cluster import Cluster
from tests.support.terms import load_random_terms

COUNT = 10_000
#: Terms on their way at one time.
IN_FLIGHT = 50

#: One process sends and compares. What it sends to one process, and what that sends back, stays in
#: order, so each term is compared with the one that comes next. Its exit reason is the result.
_ROUND_TRIPS = f"""
{{_, Monitor}} = spawn_monitor(fun() ->
  Compare = fun(Term) ->
    receive Term -> true; Other -> exit({{sent, Term, got, Other}}) after 30000 -> exit({{lost, Term}}) end
  end,
  Some = fun(Seed) ->
    Terms = random_terms:terms(Seed, {IN_FLIGHT}, 3, 3000),
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
    result = await pair.eval(_ROUND_TRIPS.replace("SEED", str(seed)))
    assert result == f"{{equal,{COUNT}}}", f"seed {seed}"
