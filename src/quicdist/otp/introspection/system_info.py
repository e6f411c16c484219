"""``erlang:system_info/1``: facts about this interpreter and this node.

OTP: ``erlang(3)``, ``system_info/1``. A limit that does not exist is ``undefined``, which the observer shows
as "Not available". Items that only a BEAM has, such as ``loaded`` or ``check_io``, are refused with
``badarg``.
"""

from __future__ import annotations

import contextlib
import os
import platform
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from quicdist.carrier.link import BufferLimits
from quicdist.node.local_node import LocalNode
from quicdist.otp.introspection.memory import resident
from quicdist.otp.introspection.refusals import UNDEFINED, Export, badarg
from quicdist.otp.introspection.versions import quicdist_version
from quicdist.otp.thread_pool import MAX_RUNNING
from quicdist.term import Atom, charlist
from quicdist.term.atom import atom_count

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

_WORD = struct.calcsize("P")
_STATUS = Path("/proc/self/status")
#: The allocator that :func:`_allocator_sizes` shows: memory without a file behind it.
_ALLOCATOR = Atom("anonymous_memory")
#: A pid has 15 bits of ``id`` and 32 of ``serial``, and is used once.
_PIDS = 1 << 47


def _python() -> str:
    return f"{platform.python_implementation()} {platform.python_version()}"


def _processors() -> Any:
    return os.cpu_count() or Atom("unknown")


def _usable_processors() -> Any:
    if hasattr(os, "sched_getaffinity"):
        with contextlib.suppress(OSError):
            return len(os.sched_getaffinity(0))
    return _processors()


def _open_files() -> Any:
    """How many sockets and files this OS process may have open."""
    if resource is None:
        return UNDEFINED
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return UNDEFINED if limit == resource.RLIM_INFINITY else limit


def _anonymous_memory() -> tuple[int, int]:
    """Bytes of memory without a file behind it: the resident ones, and all that were asked for."""
    found = {}
    with contextlib.suppress(OSError, ValueError):
        for line in _STATUS.read_text().splitlines():
            key, _, value = line.partition(":")
            if key in ("RssAnon", "VmData"):
                found[key] = int(value.split()[0]) * 1024
    used = found.get("RssAnon") or resident()[0]
    return used, max(found.get("VmData", used), used)


def _allocator_sizes() -> list[Any]:
    """``{Allocator, [{instance, 0, [{mbcs, [{blocks_size, ...}, {carriers_size, ...}]}]}]}``."""
    used, reserved = _anonymous_memory()
    sizes = [(Atom("blocks_size"), used, used, used), (Atom("carriers_size"), reserved, reserved, reserved)]
    return [(_ALLOCATOR, [(Atom("instance"), 0, [(Atom("mbcs"), sizes)])])]


class SystemInfoFunctions:
    """The function, with its name and arity on a BEAM; ``ports`` counts the ports."""

    def __init__(self, node: LocalNode, ports: Callable[[], int]) -> None:
        self._node = node
        self._items: dict[Any, Callable[[], Any]] = {
            **{Atom(name): function for name, function in self._named(ports).items()},
            (Atom("wordsize"), Atom("internal")): lambda: _WORD,
            (Atom("wordsize"), Atom("external")): lambda: _WORD,
            (Atom("allocator_sizes"), _ALLOCATOR): lambda: _allocator_sizes()[0][1],
        }

    def _named(self, ports: Callable[[], int]) -> dict[str, Callable[[], Any]]:
        return {
            "alloc_util_allocators": lambda: [_ALLOCATOR],
            "atom_count": atom_count,
            "atom_limit": lambda: UNDEFINED,
            "creation": lambda: self._node.runtime.identifiers.creation,
            "dirty_cpu_schedulers": lambda: 0,
            "dirty_cpu_schedulers_online": lambda: 0,
            "dirty_io_schedulers": lambda: 0,
            "dist_buf_busy_limit": lambda: BufferLimits().high_water,
            "ets_count": lambda: 0,
            "ets_limit": lambda: UNDEFINED,
            "kernel_poll": lambda: sys.platform != "win32",
            "logical_processors": _processors,
            "logical_processors_available": _usable_processors,
            "logical_processors_online": _processors,
            "machine": lambda: charlist(platform.python_implementation()),
            "multi_scheduling": lambda: Atom("disabled"),
            "otp_release": lambda: charlist(_python()),
            "port_count": ports,
            "port_limit": _open_files,
            "process_count": lambda: len(self._node.runtime.by_pid),
            "process_limit": lambda: _PIDS,
            "scheduler_id": lambda: 1,
            "schedulers": lambda: 1,
            "schedulers_online": lambda: 1,
            "smp_support": lambda: True,
            "start_time": lambda: 0,
            "system_architecture": lambda: charlist(f"{platform.machine()}-{sys.platform}"),
            "system_version": lambda: charlist(f"{_python()} [quicdist {quicdist_version()}]\n"),
            "thread_pool_size": lambda: MAX_RUNNING,
            "threads": lambda: True,
            "version": lambda: charlist(f"quicdist {quicdist_version()}"),
            "wordsize": lambda: _WORD,
        }

    def exports(self) -> Iterator[Export]:
        yield "erlang", "system_info", self.system_info

    def system_info(self, item: Any) -> Any:
        match item:
            case (Atom(name="allocator_sizes"), [one]) if one is _ALLOCATOR:
                return _allocator_sizes()
            case Atom() | (Atom(), Atom()) if item in self._items:
                return self._items[item]()
        raise badarg()
