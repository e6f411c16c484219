"""BEAMs without epmd that derive a port from each node's name, as EMQX's do, and a Python node."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from quicdist import Node
from tests.support.beam import Beam, tcp_args

pytestmark = pytest.mark.beam

COOKIE = "numbered"
FreePort = Callable[[], int]
#: An epmd module with EMQX's rule for ports: a base, and the digits at the end of the name. As EMQX's, it
#: answers the distribution's version 5.
EPMD_MODULE = """
-module(numbered_epmd).
-export([start_link/0, register_node/2, register_node/3, port_please/2, port_please/3, listen_port_please/2,
    names/1]).
start_link() -> ignore.
register_node(_, _) -> {ok, 1}.
register_node(_, _, _) -> {ok, 1}.
port_please(Name, _) -> {port, port(Name), 5}.
port_please(Name, _, _) -> {port, port(Name), 5}.
listen_port_please(Name, _) -> {ok, port(Name)}.
names(_) -> {error, address}.
port(Name) ->
    Text = if is_atom(Name) -> atom_to_list(Name); true -> Name end,
    Digits = lists:reverse(lists:takewhile(fun(C) -> C >= $0 andalso C =< $9 end, lists:reverse(Text))),
    BASE + case Digits of [] -> 0; _ -> list_to_integer(Digits) end.
"""


def compiled(folder: Path, base: int) -> Path:
    source = folder / "numbered_epmd.erl"
    source.write_text(EPMD_MODULE.replace("BASE", str(base)))
    with Beam() as beam:
        beam.eval_now(f'{{ok, _}} = compile:file("{source}", [{{outdir, "{folder}"}}])')
    return folder


async def test_a_node_listens_where_such_beams_look_for_it(tmp_path: Path, free_port: FreePort) -> None:
    base, port = sorted((free_port(), free_port()))
    ours = f"py{port - base}@127.0.0.1"
    folder = await asyncio.to_thread(compiled, tmp_path, base)
    more = ["-start_epmd", "false", "-epmd_module", "numbered_epmd", "-pa", str(folder)]
    with await asyncio.to_thread(Beam, tcp_args("emqx@127.0.0.1", COOKIE, more=more)) as beam:
        nodes = {"emqx@127.0.0.1": ("127.0.0.1", base)}
        options: dict[str, Any] = {"carrier": "tcp", "host": "127.0.0.1", "epmd": False, "nodes": nodes}
        async with Node(ours, cookie=COOKIE, port=port, **options) as node:
            assert await node.ping("emqx@127.0.0.1")
            node.disconnect("emqx@127.0.0.1")
            assert await beam.eval(f"net_adm:ping('{ours}')") == "pong"
