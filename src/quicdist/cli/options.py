"""The options that all commands which join a cluster share, and the node made from them."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import Any, TypeVar

import click

from quicdist import Node

F = TypeVar("F", bound=Callable[..., Any])


class AddressType(click.ParamType[tuple[str, tuple[str, int]]]):
    """``NODE=HOST:PORT``; an IPv6 address stands in brackets."""

    name = "NODE=HOST:PORT"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, tuple[str, int]]:
        if isinstance(value, tuple):
            return value
        node, _, address = str(value).partition("=")
        host, _, port = address.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        if (
            "@" not in node
            or not host
            or not port.isascii()
            or not port.isdigit()
            or not 0 < int(port) < 65536
        ):
            self.fail(f"{value!r} is not of the form name@host=HOST:PORT", param, ctx)
        return node, (host, int(port))


_PEM = click.Path(exists=True, dir_okay=False)

_OPTIONS = (
    click.option("--name", metavar="NAME@HOST", help="Name of this node; one of its own by default."),
    click.option("--cookie", help="The cluster's cookie; that of ~/.erlang.cookie by default."),
    click.option(
        "--carrier",
        type=click.Choice(["quic", "tcp"]),
        default="quic",
        show_default=True,
        help="quic speaks quic_dist, tcp what every BEAM speaks.",
    ),
    click.option(
        "--address",
        "addresses",
        type=AddressType(),
        multiple=True,
        help="Where a node listens; can be given several times.",
    ),
    click.option("--cert", type=_PEM, help="PEM file with the certificate of this node."),
    click.option("--key", type=_PEM, help="PEM file with its private key."),
    click.option("--cacert", type=_PEM, help="PEM file with the CAs trusted; the system's by default."),
    click.option(
        "--verify/--no-verify",
        default=True,
        show_default=True,
        help="Whether a node dialled over QUIC must prove its host's name by a certificate.",
    ),
    click.option(
        "--timeout",
        type=click.FloatRange(min=0, min_open=True),
        default=10.0,
        show_default=True,
        metavar="SECONDS",
        help="Time to connect and to be answered.",
    ),
)


def node_options(command: F) -> F:
    """Decorator: the shared options, in the order ``--help`` shows them."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def make_node(
    *,
    name: str | None,
    cookie: str | None,
    carrier: str,
    addresses: tuple[tuple[str, tuple[str, int]], ...],
    cert: str | None,
    key: str | None,
    cacert: str | None,
    verify: bool,
    timeout: float,
    toward: str = "",
    **more: Any,
) -> Node:
    """A node by the shared options; ``toward`` is the node it is to reach, if there is one."""
    return Node(
        name or default_name(toward),
        cookie=cookie,
        carrier=carrier,
        nodes=dict(addresses),
        cert=cert,
        key=key,
        cacert=cacert,
        verify=verify,
        setup_time=timeout,
        **more,
    )


def default_name(toward: str) -> str:
    """A name for a node that lives as long as one command, short or long as its peer's is."""
    peer_host = toward.partition("@")[2]
    short = bool(peer_host) and "." not in peer_host and ":" not in peer_host
    host = socket.gethostname().partition(".")[0] if short else "127.0.0.1"
    return f"quicdist-{os.getpid()}@{host}"
