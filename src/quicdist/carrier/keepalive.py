"""Keeps connections alive while code of the program blocks the event loop.

A BEAM sends ticks and acknowledgements independently of its processes. Here the event loop sends them, and a
function that blocks it for longer than a peer waits (``net_ticktime``; 16 s without an acknowledgement from
quic_dist 1.8.2 on) would cost the node its connections. So another thread, that of
``quicdist.node.loop_watch``, calls :meth:`KeepAlive.act` while the event loop is blocked: each link sends
ticks, and QUIC connections receive and acknowledge datagrams. Messages wait for the event loop; no code of
the program runs in that thread.

The thread of the event loop holds :attr:`KeepAlive.lock` while it changes data that both threads use, and
never while code of the program runs."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
import time
import weakref
from collections.abc import Iterator
from typing import Final, Protocol
from weakref import WeakKeyDictionary, WeakSet

from quicdist.logs import get_logger

log = get_logger("quicdist.carrier")

#: Seconds between two ticks while the event loop is blocked: a quarter of a ``net_ticktime`` of 4 s.
TICK_INTERVAL: Final = 1.0
#: Seconds after which a blocked event loop counts as dead: its peers see ``net_tick_timeout`` then.
MAX_BLOCKED: Final = 900.0
#: Seconds to wait for the lock when the event loop is about to run again.
_PATIENCE: Final = 0.1
#: An event loop whose time differs from the monotonic clock by more than so many seconds has simulated time.
_OTHER_CLOCK: Final = 60.0


class Kept(Protocol):
    """A link or an endpoint that is kept alive."""

    def keep_alive(self, now: float) -> None:
        """The event loop is blocked: give the peer a sign of life if one is due. ``now`` is in seconds of the
        monotonic clock. Called in another thread, under the lock; must run no code of the program, and call
        nothing of the event loop but ``call_soon_threadsafe``."""


class KeepAlive:
    """The links and endpoints of one event loop. :meth:`of` gives the one of a loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        #: Held while data is changed that the event loop and the keep-alive thread share.
        self.lock = threading.RLock()
        #: A cheaper lock, for each message. The thread of the event loop sets ``busy`` and then, if
        #: ``acting``, takes the lock as well; the other thread sets ``acting`` under the lock, and does
        #: nothing while ``busy``: at least one of them sees the other.
        self.busy = self.acting = False
        self._kept: WeakSet[Kept] = WeakSet()
        self._loop = weakref.ref(loop)
        #: False for an event loop with simulated time, in which nothing is kept alive: packets would get the
        #: wrong time.
        self.real_time = abs(loop.time() - time.monotonic()) < _OTHER_CLOCK
        #: When something was last kept alive, in seconds of the monotonic clock. The time of the event loop
        #: may be earlier: uvloop's clock stops while a callback runs.
        self.acted_at = 0.0
        self._given_up = False

    @staticmethod
    def of(loop: asyncio.AbstractEventLoop) -> KeepAlive:
        """The KeepAlive of an event loop."""
        keeper = _keepers.get(loop)
        if keeper is None:
            keeper = _keepers[loop] = KeepAlive(loop)
        return keeper

    def add(self, kept: Kept) -> None:
        """Keep a link or endpoint alive, until it is discarded or collected."""
        with self.lock:
            self._kept.add(kept)

    def discard(self, kept: Kept) -> None:
        with self.lock:
            self._kept.discard(kept)

    def act(self, seconds: float) -> None:
        """The event loop is blocked for so many seconds: called in another thread, several times a second."""
        if not self.real_time:
            return
        if seconds > MAX_BLOCKED:
            self._give_up(seconds)
            return
        self._given_up = False
        records = _records[threading.get_ident()] = []
        try:
            with self._locked() as locked:
                kept = list(self._kept) if locked else []
            for each in kept:
                # Lock for one at a time: the event loop does not wait for all of them.
                with self._locked() as locked:
                    if not locked:
                        return
                    try:
                        each.keep_alive(time.monotonic())
                    except Exception:
                        log.exception("%r could not be kept alive", each)
                        self._kept.discard(each)
                    self.acted_at = time.monotonic()
        finally:
            del _records[threading.get_ident()]
            loop = self._loop()
            if records and loop is not None:
                loop.call_soon_threadsafe(_handle, records)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[bool]:
        """With the lock, if it can be acquired: an event loop that holds it is not blocked by the program."""
        if not self.lock.acquire(timeout=_PATIENCE):
            yield False
            return
        self.acting = True
        try:
            yield not self.busy
        finally:
            self.acting = False
            self.lock.release()

    def _give_up(self, seconds: float) -> None:
        if not self._given_up:
            self._given_up = True
            if self._kept:
                log.warning(
                    "the event loop is blocked for %d s: its connections are no longer kept alive, and their "
                    "peers will see this node go down",
                    seconds,
                )


_keepers: WeakKeyDictionary[asyncio.AbstractEventLoop, KeepAlive] = WeakKeyDictionary()


# -- logging in the keep-alive thread ------------------------------------------------------------

#: By thread: the records that it has logged while it kept something alive.
_records: dict[int, list[logging.LogRecord]] = {}


class _Later(logging.Filter):
    """Has the event loop handle records that are logged while something is kept alive. The loop may be
    blocked inside a logging handler, with the handler's lock; and a handler is code of the program."""

    def filter(self, record: logging.LogRecord) -> bool:
        records = _records.get(threading.get_ident())
        if records is None:
            return True
        records.append(record)
        return False


def _handle(records: list[logging.LogRecord]) -> None:
    for record in records:
        get_logger(record.name).handle(record)


for _name in ("quicdist.carrier", "quicdist.carrier.quic", "quic", "asyncio"):
    logging.getLogger(_name).addFilter(_Later())


# -- forking --------------------------------------------------------------------------------------

#: Locks held by the thread that forks: a child would wait for ever for a lock of its parent's keep-alive
#: thread.
_held: list[threading.RLock] = []


def _before_fork() -> None:
    for keeper in list(_keepers.values()):
        keeper.lock.acquire()
        _held.append(keeper.lock)


def _after_fork() -> None:
    while _held:
        _held.pop().release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)
