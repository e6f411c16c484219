"""Detaches a node from processes that its program forks.

A forked process has a copy of every descriptor: while it lives, the kernel keeps the node's connections and
its port open, even after the node has ended. It has a copy of the event loop's signal handling too, which
writes to the pipe that wakes the parent's loop: a SIGTERM meant for the child would stop the parent. Programs
fork implicitly, for example by ``ProcessPoolExecutor``, whose start method on Linux is ``fork`` up to Python
3.13. Close-on-exec does not help: nothing is executed.

In the child the registered descriptors are replaced by ``/dev/null``. They are not just closed, because their
owners would close the same numbers again later, when these may belong to other files. The event loop's
``epoll`` descriptor is shared with the parent, so it is not touched: a child must not run the event loop of
its parent, nor close it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import weakref
from typing import Any, Protocol


class Forked(Protocol):
    """An object that does not work in a child process."""

    def forked(self) -> None:
        """This is a child process now. Must not raise, and must not touch the event loop."""


#: Descriptor to the inode of its socket, which detects a number that was reused.
_descriptors: dict[int, int] = {}
_owners: weakref.WeakSet[Forked] = weakref.WeakSet()

#: The packages whose signal handlers would only affect the parent's event loop.
_LOOPS = ("asyncio", "uvloop", "quicdist")


def close_in_children(descriptor: int) -> None:
    """Detach a socket, or an ``epoll`` descriptor, in processes that are forked from now on. This need not be
    undone when a socket is closed. A descriptor that is closed already is ignored."""
    with contextlib.suppress(OSError):
        _descriptors[descriptor] = os.fstat(descriptor).st_ino


def keep_in_children(descriptor: int) -> None:
    """Undo :func:`close_in_children`, before an ``epoll`` descriptor is closed: these have one inode in
    common, so its number would not be detected as reused."""
    _descriptors.pop(descriptor, None)


def tell_children(owner: Forked) -> None:
    """Call ``owner.forked()`` in every process that is forked from now on, as long as ``owner`` lives."""
    _owners.add(owner)


def _in_child() -> None:
    if not _descriptors and not _owners:
        return  # this program has had no node
    descriptors, owners = list(_descriptors.items()), list(_owners)
    _descriptors.clear()
    _owners.clear()
    with contextlib.suppress(OSError):
        _replace(descriptors)
    for owner in owners:
        owner.forked()
    _give_back_signals()


def _replace(descriptors: list[tuple[int, int]]) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor, inode in descriptors:
        with contextlib.suppress(OSError):
            if os.fstat(descriptor).st_ino == inode:
                os.dup2(null, descriptor, inheritable=False)
    os.close(null)


def _give_back_signals() -> None:
    """Take the signal handling of the parent's event loop out of the child. Handlers that the program
    installed itself stay."""
    with contextlib.suppress(ValueError):  # a subinterpreter has no signals
        signal.set_wakeup_fd(-1)
        for number in signal.valid_signals():
            if _is_of_a_loop(signal.getsignal(number)):
                default = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
                signal.signal(number, default)


def _is_of_a_loop(handler: Any) -> bool:
    handler = getattr(handler, "func", handler)  # that of asyncio.Runner is a functools.partial
    return str(getattr(handler, "__module__", "")).partition(".")[0] in _LOOPS


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_in_child)
