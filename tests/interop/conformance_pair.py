"""A conformance pair: a Python node, and a BEAM with the same services as its model.

Erlang code runs on a third node, once against each of them, and the results must be equal. So the
expectations of a test come from OTP.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quicdist import Node
from tests.interop.carriers import over_tcp, reachable
from tests.interop.cluster import names
from tests.support.beam import Beam

#: Compiles and loads the module whose source is in ``Data``.
_LOAD = """
{ok, Tokens, _} = erl_scan:string(unicode:characters_to_list(Data)),
Split = fun F([], [], Forms) -> lists:reverse(Forms);
            F([{dot, _} = Dot | Rest], Form, Forms) -> F(Rest, [], [lists:reverse([Dot | Form]) | Forms]);
            F([Token | Rest], Form, Forms) -> F(Rest, [Token | Form], Forms) end,
Forms = [begin {ok, Parsed} = erl_parse:parse_form(Form), Parsed end || Form <- Split(Tokens, [], [])],
{ok, Module, Binary} = compile:forms(Forms, []),
{module, Module} = code:load_binary(Module, "from_test.beam", Binary),
Module
"""

#: Leaves the connection to ``PEER`` watched, so that its end can be awaited.
_WATCH = "lists:member(PEER, nodes(connected)) andalso monitor_node(PEER, true)"
_GONE = "receive {nodedown, PEER} -> gone end"


def load(beam: Beam, source: str) -> None:
    """Compile and load a module of Erlang source."""
    beam.eval_now(f"(fun() -> {_LOAD} end)()", source.encode())


@dataclass
class Beams:
    """Two BEAMs on one carrier, and the options of a Python node."""

    carrier: str
    asking: Beam
    asking_name: str
    model: Beam
    model_name: str
    #: The name of the Python node, which their tables have; over TCP it is chosen later.
    node_name: str | None
    node_options: dict[str, Any]


class ConformancePair:
    """``node`` is the Python node, ``model`` a BEAM with the same services; ``beam`` calls both."""

    def __init__(self, beams: Beams, node: Node) -> None:
        self.node = node
        self.carrier = beams.carrier
        self.beam, self.beam_name = beams.asking, beams.asking_name
        self.model, self.model_name = beams.model, beams.model_name

    async def eval(self, source: str, data: bytes = b"") -> str:
        """Evaluate on the calling BEAM; ``PEER`` is the Python node."""
        return await self.beam.eval(_scoped(source, self.node.name), data)

    async def same(self, source: str) -> str:
        """Evaluate on the calling BEAM, with the Python node as ``PEER`` and with the model as ``PEER``. The
        results must be equal; return the result, with ``PEER`` in place of the name."""
        ours = await self._of(source, self.node.name)
        theirs = await self._of(source, self.model_name)
        assert ours == theirs, f"{source}\nof our node: {ours}\nof a BEAM:   {theirs}"
        return theirs

    async def _of(self, source: str, peer: str) -> str:
        return (await self.beam.eval(_scoped(source, peer))).replace(f"'{peer}'", "PEER")


def _scoped(source: str, peer: str) -> str:
    # In a fun, because variables of the evaluator stay bound.
    return f"(fun() -> {source} end)()".replace("PEER", f"'{peer}'")


@contextlib.contextmanager
def two_beams(
    carrier: str, directory: Path, modules: list[str], model_args: Iterable[str] = ()
) -> Iterator[Beams]:
    """Run two BEAMs with ``modules`` (Erlang source) loaded. With the carrier ``"gateway"`` each is behind
    one, on a host of its own."""
    ours, asking = names()
    _, model = names()
    with contextlib.ExitStack() as stack:
        found = stack.enter_context(reachable(carrier, ours, [asking, model], directory))
        found.peers[1].args += model_args
        one, two = (stack.enter_context(peer.start()) for peer in found.peers)
        for beam in (one, two):
            for source in modules:
                load(beam, source)
            # Expected failures need no log.
            beam.eval_now("logger:set_primary_config(level, none)")
        asking, model = (peer.name for peer in found.peers)
        listed = None if over_tcp(carrier) else found.ours
        yield Beams(carrier, one, asking, two, model, listed, found.options)


@contextlib.asynccontextmanager
async def conformance_pair(
    beams: Beams, *, without: int = 0, **options: Any
) -> AsyncIterator[ConformancePair]:
    """Run the Python node of a conformance pair; at the end both BEAMs have noticed its stop. ``without``
    are flags that it does not offer."""
    # epmd frees a name with a delay, so each node has a new one.
    name = beams.node_name or names()[0]
    node = Node(name, **beams.node_options | options)
    node._local._flags &= ~without
    async with node:
        conformance = ConformancePair(beams, node)
        yield conformance
        seen = [
            beam
            for beam in (beams.asking, beams.model)
            if await beam.eval(_scoped(_WATCH, node.name)) == "true"
        ]
    for beam in seen:
        await beam.eval(_scoped(_GONE, name))
