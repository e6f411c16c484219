"""What a BEAM's ``quic_dist``, and that which it is plugged into, says and does about a Python node."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from quicdist import Atom, Node, NodeDown, NodeUp, NotConnected, make_development_certificates, parse_term
from quicdist.carrier import QuicSettings
from quicdist.discovery import StaticDiscovery
from quicdist.node.endpoints import quic_carriers
from tests.interop.carriers import COOKIE
from tests.interop.cluster import Cluster, cluster, names
from tests.support.beam import Beam, erl_facts, erl_path, quic_args
from tests.support.programs import running_program

pytestmark = pytest.mark.quic_dist


@pytest_asyncio.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with cluster("quic", tmp_path) as both:
        yield both


def since(*version: int) -> None:
    """Skip what quic_dist has only from a version on."""
    found = str(erl_facts()[1])
    if tuple(map(int, found.split("."))) < version:
        pytest.skip(f"quic_dist has it from {'.'.join(map(str, version))} on, this is {found}")


# -- what net_kernel calls ---------------------------------------------------------------------


async def test_names_and_the_address(pair: Cluster) -> None:
    """``select/1`` is the same; ``is_node_name/1`` lets names pass there that ``select/1`` does not, and
    here none; ``address/0`` names no address before there is a connection."""
    carrier = quic_carriers(pair.node.endpoints)[0]
    shapes = ["a@b", "a", "a@", "@b", "a@b@c"]
    quoted = ",".join(f"'{shape}'" for shape in shapes)
    theirs = parse_term(
        await pair.eval(f"[{{quic_dist:select(N), quic_dist:is_node_name(N)}} || N <- [{quoted}]]")
    )
    assert [select for select, _ in theirs] == [carrier.select(name) for name in shapes]
    assert [name for name, (_, is_name) in zip(shapes, theirs, strict=True) if is_name] == ["a@b", "a@", "@b"]
    assert [name for name in shapes if carrier.is_node_name(name)] == ["a@b"]
    assert re.fullmatch(r'\{net_address,undefined,".*",quic,inet\}', await pair.eval("quic_dist:address()"))
    assert (carrier.address().protocol, carrier.address().port) == ("quic", 0)
    assert pair.node.addresses[0].port > 0


async def test_a_listener_that_is_closed(pair: Cluster) -> None:
    """``close/1`` there takes the socket from the connections that came by the listener, and tells
    nobody; here they go on (``tests/carrier/test_quic_refusals.py``)."""
    await pair.node.connect(pair.beam_name)
    down: asyncio.Queue[NodeUp | NodeDown] = asyncio.Queue()
    pair.node.subscribe(down.put_nowait)
    await pair.eval(
        "[ok = quic_dist:close(element(2, L)) || Ls <- tuple_to_list(sys:get_state(net_kernel)), is_list(Ls),"
        " L <- Ls, is_tuple(L), element(1, L) =:= listen]"
    )
    assert not await pair.node.ping(pair.beam_name)
    async with asyncio.timeout(10):
        gone = await down.get()
    assert isinstance(gone, NodeDown)
    assert await pair.eval("nodes(hidden)") == f"['{pair.node.name}']"


# -- net_kernel --------------------------------------------------------------------------------


async def test_node_info(pair: Cluster) -> None:
    """``net_kernel:node_info/1``: address, kind, and counts that grow."""
    assert await pair.eval("net_adm:ping(PY)") == "pong"
    # quic_dist's address is one element deeper than that of OTP's own carriers.
    there = await pair.eval(
        "begin {ok, I} = net_kernel:node_info(PY), {_, {ok, A}} = lists:keyfind(address, 1, I),"
        " {proplists:get_value(state, I), proplists:get_value(type, I), element(4, A)} end"
    )
    assert there == "{up,hidden,quic}"
    info = pair.node.net_kernel.node_info(pair.beam_name)
    assert (info.type, info.address.host, info.address.protocol) == ("hidden", "127.0.0.1", "quic")
    assert pair.node.net_kernel.nodes_info()[0].address == info.address
    await pair.eval("net_adm:ping(PY)")
    assert pair.node.net_kernel.node_info(pair.beam_name).received > info.received
    with pytest.raises(NotConnected, match="there is no connection"):
        pair.node.net_kernel.node_info("nobody@127.0.0.1")


async def test_options_of_sockets(pair: Cluster) -> None:
    """``setopts`` takes anything and does nothing, ``getopts`` answers 0: one socket is not that of one
    connection. Nothing here stands for them."""
    assert await pair.eval("net_adm:ping(PY)") == "pong"
    assert await pair.eval("net_kernel:setopts(PY, [{nodelay, true}, {nonsense, 1}])") == "ok"
    assert await pair.eval("net_kernel:getopts(PY, [nodelay, nonsense])") == "{ok,[{nodelay,0},{nonsense,0}]}"


async def test_the_creation(pair: Cluster) -> None:
    """quic_dist gives 1 to 3, of which the VM makes 4, each time the node is started; so two lives of a
    BEAM cannot be told apart. Here it is another one each time."""
    assert await pair.eval("erlang:system_info(creation)") == "4"
    assert pair.node._local.identity.creation > 4
    shown = pair.node.spawn(lambda process, message: None).pid
    pair.node.send((Atom("beam_evaluator"), Atom(pair.beam_name)), shown)
    assert shown.creation == pair.node._local.identity.creation
    assert await pair.eval("receive P when is_pid(P) -> node(P) =:= PY end") == "true"


async def test_the_pace_of_pings(pair: Cluster) -> None:
    """``quic_dist:keep_alive_interval_for/1``, from 1.6.0 on."""
    since(1, 6, 0)
    for ticktime in (1, 8, 60, 120):
        theirs = await pair.eval(f"quic_dist:keep_alive_interval_for({ticktime})")
        assert int(theirs) == QuicSettings(net_ticktime=ticktime).ping_interval * 1000


# -- discovery ---------------------------------------------------------------------------------


async def test_a_node_that_nobody_listed(pair: Cluster) -> None:
    """``quic_discovery_static`` gives the address of the first node listed for its host. A Python node
    that is taken for another says who it is, and can be dialled as itself afterwards. (A BEAM that was,
    cannot: the dialler waits for ever.)"""
    assert await pair.eval("net_kernel:connect_node('nobody@127.0.0.1')") == "false"
    assert await pair.eval("net_adm:ping(PY)") == "pong"
    assert await pair.eval("nodes(hidden)") == f"['{pair.node.name}']"


async def test_a_node_listed_while_it_runs(pair: Cluster, free_port: Callable[[], int]) -> None:
    """``quic_discovery_static:register/2``, ``unregister/1``; ``StaticDiscovery.add``, ``remove``."""
    name, port = names()[0], free_port()
    table = StaticDiscovery()
    settings = quic_carriers(pair.node.endpoints)[0].settings.tls
    async with Node(
        name,
        cookie=COOKIE,
        discovery=table,
        host="127.0.0.1",
        port=port,
        cert=settings.cert,
        key=settings.key,
        verify=False,
    ) as late:
        await pair.eval(f"quic_discovery_static:register('{name}', {{\"127.0.0.1\", {port}}})")
        assert await pair.eval(f"net_adm:ping('{name}')") == "pong"
        late.disconnect(pair.beam_name)
        with pytest.raises(NotConnected):
            await late.connect(pair.beam_name)
        there = pair.node.endpoints[0].discovery
        table.add(pair.beam_name, await there.lookup(pair.beam_name))
        await late.connect(pair.beam_name)
        await pair.eval(f"quic_discovery_static:unregister('{name}')")
        table.remove(pair.beam_name)
        assert late.nodes("connected") == [pair.beam_name]


async def test_over_ipv6(tmp_path: Path, free_port: Callable[[], int]) -> None:
    """A BEAM dials over IPv6, in every version, and listens over IPv4 alone."""
    files = make_development_certificates(tmp_path / "certs")
    theirs, ours = names()[1], f"{names()[0].partition('@')[0]}@::1"
    port = free_port()
    args = quic_args(
        theirs, free_port(), tmp_path, {ours: ("::1", port)}, cert=files.cert, key=files.key, cookie=COOKIE
    )
    async with (
        Beam(args) as beam,
        Node(
            ours, cookie=COOKIE, host="::1", port=port, cert=files.cert, key=files.key, verify=False
        ) as node,
    ):
        await beam.eval("{ok, _} = application:ensure_all_started(quic)")
        assert await beam.eval(f"net_adm:ping('{ours}')") == "pong"
        assert node.net_kernel.node_info(theirs).address.family == "inet6"


# -- tickets -----------------------------------------------------------------------------------


async def test_tickets_are_not_stored(pair: Cluster) -> None:
    """``quic_dist_tickets`` works, and nobody puts a ticket there nor asks for one. Here each node that
    is dialled leaves one, in its carrier."""
    await pair.node.connect(pair.beam_name)
    kept = quic_carriers(pair.node.endpoints)[0].resumption.kept
    async with asyncio.timeout(10):
        while not len(kept):  # noqa: ASYNC110 - a ticket comes when the peer likes
            await asyncio.sleep(0.01)
    await pair.eval("monitor_node(PY, true)")
    pair.node.disconnect(pair.beam_name)
    await pair.eval("receive {nodedown, _} -> ok end")
    assert await pair.eval("net_adm:ping(PY)") == "pong"
    assert await pair.eval("{quic_dist_tickets:lookup(PY), ets:info(quic_dist_tickets, size)}") == (
        "{{error,not_found},0}"
    )


# -- the script --------------------------------------------------------------------------------


async def test_quic_call(pair: Cluster, tmp_path: Path) -> None:
    """``priv/bin/quic_call.sh``, erl_call's stand-in, from 1.3.2 on: one call into a Python node."""
    since(1, 3, 2)
    pair.node.export("py", "double")(lambda number: 2 * number)
    script, config = tmp_path / "quic_call.sh", tmp_path / "call.config"
    script.write_bytes(
        await pair.beam.eval_bytes(
            "element(2, file:read_file(filename:join([code:priv_dir(quic), bin, 'quic_call.sh'])))"
        )
    )
    # It looks for certificates line by line.
    given = (tmp_path / f"{pair.beam_name.partition('@')[0]}-sys.config").read_text()
    config.write_text(given.replace("},{", "},\n{"))
    erl = Path(str(erl_path()))
    options = ("-c", COOKIE, "-C", str(config), "-n", names()[1])
    async with running_program(
        *("bash", str(script), *options, pair.node.name, "py", "double", "[21]"),
        env=os.environ | {"PATH": f"{erl.parent}:{os.environ['PATH']}", "QUIC_EBIN": str(tmp_path)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    ) as call:
        async with asyncio.timeout(60):
            printed, _ = await call.communicate()
    assert (printed, call.returncode) == (b"42\n", 0)
