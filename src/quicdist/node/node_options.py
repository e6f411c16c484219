"""Makes the inner object of a node from the options of a program and the cluster's own configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from quicdist.carrier import Pem
from quicdist.carrier.liveness import NET_TICKTIME
from quicdist.config import Config, first
from quicdist.discovery import Discovery
from quicdist.discovery.static import Addresses
from quicdist.node.connections import SETUP_TIME
from quicdist.node.dial_queue import MAX_DIALS
from quicdist.node.dynamic_names import is_dynamic
from quicdist.node.endpoints import MAX_FRAME, Endpoint, EndpointSettings, make_endpoints
from quicdist.node.errors import NodeError
from quicdist.node.local_node import LocalNode, NodeServices
from quicdist.protocol.names import node_name
from quicdist.term import Codec
from quicdist.term.names import Name

if TYPE_CHECKING:
    from quicdist.carrier import TlsSettings


def make_local_node(
    files: Config,
    *,
    owner: Any = None,
    services: NodeServices | None = None,
    name: Name | None = None,
    cookie: Name | None = None,
    carrier: str | Sequence[str] | None = None,
    nodes: Addresses | None = None,
    host: str | None = None,
    port: int | None = None,
    listen: bool | None = None,
    epmd: bool | None = None,
    discovery: Discovery | None = None,
    endpoints: Sequence[Endpoint] | None = None,
    cert: Pem | None = None,
    key: Pem | None = None,
    cacert: Pem | None = None,
    verify: bool | None = None,
    quic: Mapping[str, Any] | None = None,
    tls: TlsSettings | None = None,
    hidden: bool | None = None,
    codec: Codec | None = None,
    net_ticktime: float | None = None,
    setup_time: float | None = None,
    max_frame: int = MAX_FRAME,
    max_dials: int = MAX_DIALS,
    busy_wait: bool | None = None,
) -> LocalNode:
    """A node by the options of :class:`quicdist.Node`, which override what ``files`` say.

    Raises :class:`NodeError` for options that do not fit together, and what :class:`LocalNode` raises.
    """
    name = first(name, files.name)
    if name is None:
        raise NodeError("a node needs a name: pass one, or a vm.args with -name or -sname")
    name = node_name(name)
    dynamic = is_dynamic(name)
    if dynamic and (listen or hidden is False):
        raise NodeError(f"{name} asks for its name: such a node is hidden and does not listen")
    listen = not dynamic and first(listen, files.listen, True)
    if hidden is False and not listen and endpoints is None:
        raise NodeError("a published node must listen: the other nodes of its cluster connect to it")
    hidden = first(hidden, files.hidden, True) or not listen  # as -dist_listen false implies
    ticktime = first(net_ticktime, files.net_ticktime, NET_TICKTIME)
    its_cert, its_key, its_cacert = files.certificates
    if endpoints is None:
        settings = EndpointSettings(
            nodes=nodes or {},
            discovery=discovery,
            host=host,
            port=port,
            listen=listen,
            epmd=first(epmd, files.epmd, True),
            hidden=hidden,
            cert=first(cert, its_cert),
            key=first(key, its_key),
            cacert=first(cacert, its_cacert),
            verify=first(verify, files.verify, True),
            quic=quic or {},
            tls=tls,
            net_ticktime=ticktime,
            max_frame=max_frame,
            config=files,
            name=name,
        )
        endpoints = make_endpoints(first(carrier, files.carriers, "quic"), settings)
    local = LocalNode(
        name,
        owner=owner,
        services=services,
        cookie=first(cookie, files.cookie),
        endpoints=endpoints,
        hidden=hidden,
        codec=codec,
        net_ticktime=ticktime,
        setup_time=first(setup_time, files.setup_time, SETUP_TIME),
        max_dials=max_dials,
        busy_wait=first(busy_wait, files.busy_wait, True),
    )
    for other, its_cookie in files.cookies.items():
        local.set_cookie(other, its_cookie)
    return local
