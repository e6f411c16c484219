"""What all commands share that reach a node: running, progress, errors."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from quicdist.cli.failure import CommandFailed
from quicdist.errors import QuicDistError

if TYPE_CHECKING:
    from quicdist import Node
    from quicdist.cli.options import NodeAddress
    from quicdist.cli.traced_link import Show
    from quicdist.otp.calling_node import CallingNode

T = TypeVar("T")
N = TypeVar("N", "Node", "CallingNode")


def reach(
    target: NodeAddress,
    work: Callable[[Node], Awaitable[T]],
    *,
    doing: str,
    options: dict[str, Any],
    traced_by: Show | None = None,
) -> T:
    """Start a node, connect it to ``target``, await ``work`` with it and stop it; the value of ``work``.

    ``options`` are the shared options of the command. ``traced_by`` is called with each message of its links.
    Raises :class:`QuicDistError`.
    """
    from quicdist.cli.options import make_node

    options = {**_toward(target, options), "listen": False, "cluster": ()}
    node = make_node(**options)
    if traced_by is not None:
        from quicdist.cli.traced_link import traced_endpoints

        node = make_node(**options, endpoints=traced_endpoints(node, traced_by))

    return _work_with(node, target, work, doing)


def reach_briefly(
    target: NodeAddress,
    work: Callable[[CallingNode], Awaitable[T]],
    *,
    doing: str,
    options: dict[str, Any],
) -> T:
    """:func:`reach` with a node that offers nothing to others: for a command that asks one question."""
    from quicdist.cli.options import make_calling_node

    return _work_with(make_calling_node(**_toward(target, options)), target, work, doing)


def _toward(target: NodeAddress, options: dict[str, Any]) -> dict[str, Any]:
    """The options of a node that is to reach ``target``."""
    options = {**options, "toward": target}
    if any(each.node == target.node and each.port for each in (target, *options["addresses"])):
        options["epmd"] = False  # which may know another port
    return options


def _work_with(node: N, target: NodeAddress, work: Callable[[N], Awaitable[T]], doing: str) -> T:
    from quicdist.cli.leaving import leave
    from quicdist.cli.unreachable import explain

    async def run() -> T:
        async with node:
            try:
                await node.connect(target.node)
            except QuicDistError as error:
                await explain(error, node)
                raise
            try:
                return await work(node)
            finally:
                await leave(node, target.node)

    return run_with_progress(run(), doing)


def run_with_progress(work: Coroutine[Any, Any, T], doing: str) -> T:
    """Run a coroutine, and show ``doing`` meanwhile if standard error is a terminal."""
    from quicdist.node.event_loop import run

    with progress(doing):
        return run(work)


@contextlib.contextmanager
def progress(doing: str) -> Iterator[None]:
    """Show ``doing`` if it is not empty and standard error is a terminal."""
    if not doing or not sys.stderr.isatty():
        yield
        return
    from quicdist.cli.progress import spinner

    with spinner(doing):
        yield


@contextlib.contextmanager
def errors_end() -> Iterator[None]:
    """A :class:`QuicDistError` or :class:`CommandFailed` ends the command, with its text and status 1."""
    try:
        yield
    except (QuicDistError, CommandFailed) as error:
        fail(error)


def fail(error: Exception | str) -> NoReturn:
    """Print an error, with the stack of a remote one, and end with status 1."""
    complain(error)
    sys.exit(1)


def complain(error: Exception | str) -> None:
    """Print an error with its notes, and with the stack of a remote one."""
    from quicdist.otp import RemoteError

    notes = "".join(f" ({note})" for note in getattr(error, "__notes__", ()))
    click.echo(f"quicdist: {error}{notes}", err=True)
    if isinstance(error, RemoteError):
        from quicdist.cli.stack import stack_lines

        for line in stack_lines(error.stack):
            click.echo(f"  {line}", err=True)
