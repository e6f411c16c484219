"""Places in exported functions: plain, coroutines, in threads and in a process pool; called by ``erpc``,
by ``rex``, spawned, and cast."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable
from typing import Any

from quicdist import ANY, Atom, CallTimeout, RemoteError
from quicdist.otp.erpc import rex_error
from tests.containment import faults
from tests.containment.faults import Fault
from tests.containment.lab import KILL, KILLED, Lab
from tests.containment.places import error_of, place

#: Asks for ``lab:Name()`` on ``two``: what the call comes to.
Ask = Callable[[Lab, str], Awaitable[Any]]

#: Seconds for a call that is given up.
SOON = 0.05


def pooled(name: str) -> Any:
    """A fault by name, in another process."""
    return next(fault for fault in faults.ALL if fault.name == name).plain()


def threaded(fault: Fault) -> Any:
    if fault.never:
        return faults.over.wait()
    return fault.plain()


def _export(lab: Lab, kind: str, fault: Fault) -> str:
    name = f"{kind} {fault.name}"
    if lab.two.exports.find("lab", name, 0) is None:
        exported: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
            "plain": (fault.plain, {}),
            "async": (fault.awaited, {}),
            "blocking": (functools.partial(threaded, fault), {"blocking": True}),
            "pooled": (functools.partial(pooled, fault.name), {"executor": lab.pool}),
        }
        function, options = exported[kind]
        lab.two.exports.add("lab", name, function, **options)
    return name


# -- how it is asked for -------------------------------------------------------------------------


async def by_erpc(lab: Lab, name: str) -> Any:
    asked: asyncio.Future[Any] = lab.around(
        lambda: asyncio.ensure_future(lab.one.call(lab.two.name, "lab", name, timeout=_patience(name)))
    )
    return await asked


async def by_rex(lab: Lab, name: str) -> Any:
    """As ``rpc:call`` asks a node without ``erpc``."""
    leader = lab.one._local.runtime.group_leader
    request: Any = (Atom("call"), Atom("lab"), Atom(name), [], leader)
    asked = lab.around(lab.one.gen_server.send_request, ("rex", lab.two.name), request)
    value = await asked.receive_response(_patience(name))
    error = rex_error(lab.two.name, value, name)
    if error is not None:
        raise error
    return value


async def by_block_call(lab: Lab, name: str) -> Any:
    asked: asyncio.Future[Any] = lab.around(
        lambda: asyncio.ensure_future(lab.one.rpc.block_call(lab.two.name, "lab", name))
    )
    return await asked


def _patience(name: str) -> float | None:
    return SOON if "never" in name else None


def _reason(error: RemoteError) -> Any:
    """What a process ends with that lets the error out."""
    return (error.reason, error.stack) if error.kind == "error" else error.reason


def called(kind: str, ask: Ask, name: str, **options: Any) -> None:
    async def run(lab: Lab, fault: Fault) -> Any:
        error = await error_of(ask(lab, _export(lab, kind, fault)))
        if fault.never:
            assert isinstance(error, CallTimeout), error
            await lab.seen_both()
            await lab.check()
            faults.release()
            return None
        assert isinstance(error, RemoteError), error
        return _reason(error)

    place(f"{kind} export, by {name}", replies=True, **options)(run)


for kind, options in (
    ("plain", {}),
    ("async", {"coroutine": True}),
    ("blocking", {"waits": True}),
    ("pooled", {}),
):
    called(kind, by_erpc, "erpc", **options)
    called(kind, by_rex, "rex", **options)
    # One that does not return holds the next ones up, as rpc has it.
    called(kind, by_block_call, "block_call", **{**options, "waits": False})


# -- spawned, and cast ---------------------------------------------------------------------------


def spawned(kind: str, **options: Any) -> None:
    async def run(lab: Lab, fault: Fault) -> Any:
        name = _export(lab, kind, fault)
        process = lab.one._local.runtime.add_process()
        request = lab.around(lambda: process.spawn_request(lab.two.name, "lab", name, [], monitor=True))
        *_, pid = await process.receive((ANY, request, ANY, ANY))
        if fault.never:
            await lab.seen_both()
            await lab.check()
            process.exit(pid, KILL)
        reason = (await process.receive())[-1]
        process.stop()
        if fault.never:
            assert reason == KILLED
            faults.release()
            return None
        return reason

    place(f"{kind} export, spawned", **options)(run)


def cast(kind: str, **options: Any) -> None:
    """Nobody is told; the process that ran it is gone."""

    async def run(lab: Lab, fault: Fault) -> Any:
        name = _export(lab, kind, fault)
        before = set(lab.two._local.runtime.processes())
        by_rex: Any = (Atom("cast"), Atom("lab"), Atom(name), [], lab.one._local.runtime.group_leader)

        def both() -> None:
            lab.one.erpc.cast(lab.two.name, "lab", name)
            lab.one.gen_server.cast(("rex", lab.two.name), by_rex)

        lab.around(both)
        await lab.seen_both()
        await lab.check()
        while left := set(lab.two._local.runtime.processes()) - before:
            if fault.never:
                for process in left:
                    lab.one._local.runtime.links.exit(lab.watcher.pid, process.pid, KILL)
            await asyncio.sleep(0)
        faults.release()

    place(f"{kind} export, cast", **options)(run)


for kind, options in (("plain", {}), ("async", {"coroutine": True}), ("blocking", {"waits": True})):
    spawned(kind, **options)
    cast(kind, **options)
