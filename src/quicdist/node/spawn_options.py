"""The options of a SPAWN_REQUEST: those this node asks with, and those that come in.

``erlang:spawn_opt/5``, ``erlang:spawn_request/5``. What comes in is read as strictly as a BEAM reads it:
options that concern the parent's node only (``reply``, ``reply_tag``, those of its monitor) a BEAM never
sends, and they are refused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from quicdist.node.exit_reason import DOWN
from quicdist.node.process_relations import MONITOR_ALIASES, MonitorAlias
from quicdist.term import Atom

LINK = Atom("link")
MONITOR = Atom("monitor")
SPAWN_REPLY = Atom("spawn_reply")
#: Which outcomes ``spawn_request`` sends a message for.
ReplyOn = Literal["yes", "no", "error_only", "success_only"]
REPLY_ON: tuple[ReplyOn, ...] = ("yes", "no", "error_only", "success_only")
_PRIORITY = Atom("priority")
_SIZE = Atom("size")
_LEVELS = tuple(map(Atom, ("low", "normal", "high", "max")))
_QUEUES = tuple(map(Atom, ("on_heap", "off_heap")))
_MONITOR_ALIASES = tuple(map(Atom, MONITOR_ALIASES))
#: Words: a process's heap is never smaller (``min_heap_size``), so no lower bound makes sense.
_MIN_HEAP = 233


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _is_heap_limit(value: Any) -> bool:
    size = value.get(_SIZE) if isinstance(value, dict) else value
    return type(size) is int and (size == 0 or size >= _MIN_HEAP)


def _is_monitor_option(option: Any) -> bool:
    match option:
        case (Atom(name="alias"), kind):
            return kind in _MONITOR_ALIASES
        case (Atom(name="tag"), _):
            return True
    return bool(option == _PRIORITY)


#: Options with a value, and what values each takes. All but link and monitor tune a BEAM's
#: scheduler and heap: they are checked, and have no effect here.
_VALUES: dict[Atom, Callable[[Any], bool]] = {
    LINK: lambda value: isinstance(value, list) and all(item == _PRIORITY for item in value),
    MONITOR: lambda value: isinstance(value, list) and all(map(_is_monitor_option, value)),
    _PRIORITY: lambda value: value in _LEVELS,
    Atom("fullsweep_after"): _is_count,
    Atom("min_heap_size"): _is_count,
    Atom("min_bin_vheap_size"): _is_count,
    Atom("max_heap_size"): _is_heap_limit,
    Atom("message_queue_data"): lambda value: value in _QUEUES,
    Atom("scheduler"): lambda value: type(value) is int and 0 <= value <= 1,
    Atom("async_dist"): lambda value: isinstance(value, bool),
}


class SpawnRequestOptions(NamedTuple):
    """The options of a spawn request of this node; see :meth:`Process.spawn_request`."""

    link: bool = False
    monitor: bool = False
    alias: bool | MonitorAlias = False
    tag: Any = DOWN
    reply: ReplyOn = "yes"
    reply_tag: Any = SPAWN_REPLY
    more: tuple[Any, ...] = ()

    def to_send(self) -> list[Any]:
        """The options sent to the other node; the rest concerns this node only, as in OTP."""
        return [*([LINK] if self.link else []), *([MONITOR] if self.monitor else []), *self.more]


class SpawnOptions(NamedTuple):
    """Whether the new process is linked to its parent, and monitored by it."""

    link: bool = False
    monitor: bool = False


def asks_for(options: list[Any], what: Atom) -> bool:
    """Whether ``link`` or ``monitor`` is among the options, with or without a value."""
    return any(what is (option[0] if isinstance(option, tuple) and option else option) for option in options)


def read_options(options: Any) -> SpawnOptions | None:
    """The options of a request; None where a BEAM would answer ``badopt``."""
    link = monitor = False
    for option in options:
        match option:
            case (Atom() as key, value) if key in _VALUES and _VALUES[key](value):
                pass
            case Atom() as key if key in (LINK, MONITOR):
                pass
            case _:
                return None
        link |= key is LINK
        monitor |= key is MONITOR
    return SpawnOptions(link, monitor)
