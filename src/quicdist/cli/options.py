"""The options that all commands which join a cluster share, and the node made from them.

What they need of the library is imported where it is used: ``--help`` needs none of it.
"""

from __future__ import annotations

import math
import os
import re
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])
N = TypeVar("N")

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from quicdist import Node
    from quicdist.otp.calling_node import CallingNode

    _NameBase = click.ParamType[str]
    _AddressBase = click.ParamType["NodeAddress"]
else:  # older releases of click have it without parameters
    _NameBase = _AddressBase = click.ParamType

_CARRIERS = ("quic", "tcp", "tls")
_ADDRESS = re.compile(
    r"(?P<node>[^=]+)=(?:(?P<carrier>[a-z]+)://)?"
    r"(?:\[(?P<ipv6>[^\[\]]+)\]|(?P<host>[^:\[\]]+)):(?P<port>[0-9]{1,5})"
)


@dataclass(frozen=True, slots=True)
class NodeAddress:
    """A node, and what is known of where it listens: None where it is not said."""

    node: str
    host: str | None = None
    port: int | None = None
    carrier: str | None = None


class NodeNameType(_NameBase):
    """``alive@host``, the name of this node."""

    name = "NAME@HOST"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from quicdist.protocol import InvalidNodeName, validate_node_name

        try:
            return str(validate_node_name(str(value)))
        except InvalidNodeName as error:
            self.fail(str(error), param, ctx)


class NodeType(_AddressBase):
    """Another node: ``[CARRIER://]NAME@HOST[:PORT]``. A port that follows an IPv6 address needs
    ``--address``."""

    name = "NODE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> NodeAddress:
        if isinstance(value, NodeAddress):
            return value
        from quicdist.protocol import InvalidNodeName, parse_node_name

        carrier, scheme, rest = str(value).rpartition("://")
        if scheme and carrier not in _CARRIERS:
            self.fail(f"{value!r} names no carrier: quic://, tcp:// or tls:// expected", param, ctx)
        host: str | None = None
        name, colon, digits = rest.rpartition(":")
        if colon and rest.partition("@")[2].count(":") == 1:
            if not (digits.isascii() and digits.isdigit() and 0 < int(digits[:6]) < 65536):
                self.fail(f"{value!r} has no port after the colon: 1 to 65535 expected", param, ctx)
            rest, host = name, name.partition("@")[2]
        try:
            node = str(parse_node_name(rest))
        except InvalidNodeName as error:
            self.fail(str(error), param, ctx)
        return NodeAddress(node, host, int(digits) if host else None, carrier or None)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """The nodes that the epmd of the host knows, of this host if there is no ``@`` yet."""
        from quicdist.cli.completing import node_names

        return node_names(incomplete)


class AddressType(_AddressBase):
    """``NODE=[CARRIER://]HOST:PORT``; an IPv6 address is written in brackets."""

    name = "NODE=[CARRIER://]HOST:PORT"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> NodeAddress:
        if isinstance(value, NodeAddress):
            return value
        from quicdist.protocol import is_node_name

        match = _ADDRESS.fullmatch(str(value))
        if (
            match is None
            or not is_node_name(match["node"])
            or not 0 < int(match["port"]) < 65536
            or match["carrier"] not in (None, *_CARRIERS)
        ):
            self.fail(f"{value!r} is not of the form name@host=[CARRIER://]HOST:PORT", param, ctx)
        return NodeAddress(
            match["node"], match["ipv6"] or match["host"], int(match["port"]), match["carrier"]
        )


class Seconds(click.FloatRange):
    """A time, or infinity; ``nan`` is none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        seconds = float(super().convert(value, param, ctx))
        if math.isnan(seconds):
            self.fail(f"{value!r} is no number of seconds", param, ctx)
        return seconds


#: The argument NODE of the commands that reach one.
node_argument = click.argument("node", metavar="NODE", type=NodeType())
#: ``--json`` of the commands that print data.
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
#: ``--lines`` of the commands that show a table of processes.
lines_option = click.option("--lines", type=click.IntRange(min=1), help="At most so many processes.")


def sort_option(default: str) -> Callable[[F], F]:
    """Decorator: ``--sort`` of the commands that show a table of processes."""
    return click.option(
        "--sort",
        type=click.Choice(["pid", "name", "reductions", "memory", "messages"]),
        default=default,
        show_default=True,
        help="Key by which the processes are sorted.",
    )


_PEM = click.Path(exists=True, dir_okay=False)
_FILE = click.Path(exists=True, dir_okay=False)

_OPTIONS = {
    "config": click.option(
        "--config",
        type=_FILE,
        multiple=True,
        help="The cluster's sys.config; it says what other options do not. Can be given several times.",
    ),
    "vm_args": click.option(
        "--vm-args", type=_FILE, help="The cluster's vm.args; all of it but the name counts."
    ),
    "name": click.option(
        "--name",
        type=NodeNameType(),
        help="Name of this node; by default a name made for this command.",
    ),
    "cookie": click.option("--cookie", help="The cluster's cookie; that of ~/.erlang.cookie by default."),
    "carrier": click.option(
        "--carrier",
        "carriers",
        type=click.Choice(_CARRIERS),
        multiple=True,
        show_default="that of the address, or quic",
        help="quic is quic_dist, tcp inet_tcp_dist, tls inet_tls_dist. Given twice: both, in that order.",
    ),
    "address": click.option(
        "--address",
        "addresses",
        type=AddressType(),
        multiple=True,
        help="Where a node listens, and over which carrier; can be given several times.",
    ),
    "cert": click.option("--cert", type=_PEM, help="PEM file with the certificate of this node."),
    "key": click.option("--key", type=_PEM, help="PEM file with its private key."),
    "cacert": click.option(
        "--cacert", type=_PEM, help="PEM file with the CAs trusted; Mozilla's list by default."
    ),
    "verify": click.option(
        "--verify/--no-verify",
        default=None,
        show_default="verify",
        help="Whether a node dialled over QUIC or TLS must prove its host's name by a certificate.",
    ),
    "timeout": click.option(
        "--timeout",
        type=Seconds(min=0, min_open=True),
        default=10.0,
        show_default=True,
        metavar="SECONDS",
        help="Time to connect, and again to be answered.",
    ),
}


def node_options(command: F) -> F:
    """Decorator: the shared options, in the order ``--help`` shows them."""
    return shared_options(*_OPTIONS)(command)


def shared_options(*names: str) -> Callable[[F], F]:
    """Decorator: the shared options of these names, in the order ``--help`` shows them."""

    def decorate(command: F) -> F:
        for name in reversed(names):
            command = _OPTIONS[name](command)
        return command

    return decorate


def make_node(
    *,
    name: str | None,
    cookie: str | None,
    carriers: Sequence[str],
    addresses: Sequence[NodeAddress],
    cert: str | None,
    key: str | None,
    cacert: str | None,
    verify: bool | None,
    timeout: float,
    config: Sequence[str] = (),
    vm_args: str | None = None,
    toward: str | NodeAddress = "",
    **more: Any,
) -> Node:
    """A node by the shared options; ``toward`` is the node it is to reach, if there is one.

    Without ``carriers`` it is the carrier that ``toward`` or an address names. Raises
    :class:`click.UsageError` for options that do not go together.
    """
    from quicdist import Node

    return _made(
        Node,
        name,
        cookie,
        carriers,
        [*addresses, _address(toward)],
        toward=_address(toward).node,
        cert=cert,
        key=key,
        cacert=cacert,
        verify=verify,
        setup_time=timeout,
        config=config,
        vm_args=vm_args,
        **more,
    )


def make_calling_node(
    *,
    name: str | None,
    cookie: str | None,
    carriers: Sequence[str],
    addresses: Sequence[NodeAddress],
    timeout: float,
    toward: NodeAddress,
    **more: Any,
) -> CallingNode:
    """:func:`make_node` of a node that offers nothing to others."""
    from quicdist.otp.calling_node import CallingNode

    known = [*addresses, toward]
    return _made(CallingNode, name, cookie, carriers, known, toward=toward.node, setup_time=timeout, **more)


def _address(node: str | NodeAddress) -> NodeAddress:
    return node if isinstance(node, NodeAddress) else NodeAddress(node)


def _made(
    make: Callable[..., N],
    name: str | None,
    cookie: str | None,
    carriers: Sequence[str],
    known: Sequence[NodeAddress],
    *,
    toward: str,
    cert: str | None,
    key: str | None,
    config: Sequence[str],
    **more: Any,
) -> N:
    from quicdist.config import ConfigError
    from quicdist.node import CookieError

    if (cert is None) != (key is None):
        raise click.UsageError("--cert and --key go together: only one of them is given")
    if name is not None and name == toward:
        raise click.UsageError(f"--name {name} is the name of the other node: two nodes need two names")
    carriers = _carriers(carriers, known)
    try:
        return make(
            name or default_name(toward),
            cookie=cookie,
            carrier=carriers or None,
            nodes=table(known),
            cert=cert,
            key=key,
            config=config or None,
            **more,
        )
    except ConfigError as error:
        raise click.UsageError(str(error)) from error
    except CookieError as error:
        if cookie is None:
            raise
        raise click.BadParameter(str(error), param_hint="--cookie") from error


def table(addresses: Sequence[NodeAddress]) -> dict[str, tuple[str, int]]:
    """The addresses by node, as :class:`~quicdist.Node` takes them."""
    return {each.node: (each.host, each.port) for each in addresses if each.host and each.port}


def _carriers(given: Sequence[str], addresses: Sequence[NodeAddress]) -> Sequence[str]:
    """The carriers in the order in which they are tried; none to leave it to the configuration."""
    named = list(dict.fromkeys(each.carrier for each in addresses if each.carrier))
    for each in addresses:
        if given and each.carrier and each.carrier not in given:
            raise click.UsageError(
                f"{each.node} is to be reached over {each.carrier}, but --carrier says {', '.join(given)}"
            )
    return list(dict.fromkeys(given)) or named


def default_name(toward: str) -> str:
    """A name for a node that lives as long as one command, short or long as its peer's is."""
    from quicdist.protocol import parse_node_name

    short = bool(toward) and not parse_node_name(toward).is_long
    host = socket.gethostname().partition(".")[0] if short else "127.0.0.1"
    return f"quicdist-{os.getpid()}@{host}"
