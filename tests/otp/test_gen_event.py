"""Event managers in Python: their handlers, and what a peer may send them."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from quicdist import Atom, EventHandler, GenEvent, Global, Node, NodeError, Pid, Process, RemoveHandler
from tests.otp.conftest import ended

ERROR, EXIT, OK = Atom("error"), Atom("EXIT"), Atom("ok")


class Notes(EventHandler):
    """Notes what happens to it."""

    def __init__(self, args: Any) -> None:
        self.notes: list[Any] = [args]

    def handle_event(self, event: Any) -> Any:
        if callable(event):
            return event(self)
        self.notes.append(event)
        return None

    def handle_call(self, request: Any) -> Any:
        return request(self) if callable(request) else self.notes

    def handle_info(self, message: Any) -> None:
        self.notes.append(("info", message))


class Strict(EventHandler):
    def handle_event(self, event: Any) -> None:
        match event:
            case "known":
                pass


async def started(node: Node, **handlers: Any) -> Process:
    process = await node.gen_event.start(GenEvent(handlers or {"notes": Notes}), name="events")
    assert process is not None
    return process


async def test_handlers_are_added_called_and_deleted_by_name(node: Node) -> None:
    await started(node)
    events = node.gen_event
    await events.add_handler("events", "notes", 1)
    await events.add_handler("events", ("notes", "second"), 2)
    events.notify("events", "one")
    await events.sync_notify("events", "two")
    assert await events.which_handlers("events") == [(Atom("notes"), Atom("second")), Atom("notes")]
    assert await events.call("events", "notes", None) == [1, "one", "two"]
    assert await events.call("events", ("notes", "second"), None) == [2, "one", "two"]
    assert await events.delete_handler("events", "notes") == OK
    assert await events.call("events", "notes", None) == (ERROR, Atom("bad_module"))


async def test_handlers_can_be_installed_from_the_start(node: Node) -> None:
    manager = GenEvent({"notes": Notes}, install=[("notes", 1), (("notes", 2), 2)])
    node.serve(manager, name="events")
    assert await node.gen_event.call("events", ("notes", 2), None) == [2]
    assert manager.which_handlers() == [(Atom("notes"), 2), Atom("notes")]


async def test_a_handler_that_cannot_be_installed_stops_the_start(node: Node) -> None:
    with pytest.raises(NodeError, match="cannot install the event handler 'unknown'"):
        await node.gen_event.start(GenEvent({}, install=[("unknown", 1)]))


async def test_a_coroutine_callback_delays_later_events_and_keeps_their_order(node: Node) -> None:
    process = await started(node)
    await node.gen_event.add_handler("events", "notes", 1)
    await node.gen_event.add_handler("events", ("notes", 2), 2)
    go = asyncio.Event()

    async def slow(notes: Notes) -> None:
        await go.wait()
        notes.notes.append("slow")

    node.gen_event.notify("events", slow)
    node.gen_event.notify("events", "later")
    assert process.message_queue_len == 1
    go.set()
    await node.gen_event.sync_notify("events", "last")
    for handler in ("notes", ("notes", 2)):
        assert (await node.gen_event.call("events", handler, None))[1:] == ["slow", "later", "last"]


async def test_a_handler_without_a_case_for_an_event_is_removed_with_function_clause(
    node: Node, caplog: pytest.LogCaptureFixture
) -> None:
    await started(node, strict=Strict, notes=Notes)
    await node.gen_event.add_handler("events", "strict")
    await node.gen_event.add_handler("events", "notes")
    await node.gen_event.sync_notify("events", "known")
    assert len(await node.gen_event.which_handlers("events")) == 2
    with caplog.at_level(logging.ERROR, "quicdist.crash"):
        await node.gen_event.sync_notify("events", "unknown")
    assert await node.gen_event.which_handlers("events") == [Atom("notes")]
    (record,) = caplog.records
    assert "(events) of alone@127.0.0.1: handler strict crashed: {'EXIT',{function_clause," in record.message
    assert record.__dict__["handler"] == Atom("strict")
    assert record.__dict__["last_message"] == "unknown"


@pytest.mark.parametrize(
    "error", [ValueError("no"), asyncio.CancelledError(), SystemExit(1), GeneratorExit(), Exception()]
)
@pytest.mark.parametrize("waits", [False, True])
async def test_whatever_a_handler_raises_ends_that_handler_alone(
    node: Node, error: BaseException, waits: bool
) -> None:
    process = await started(node)
    await node.gen_event.add_handler("events", "notes", 1)
    await node.gen_event.add_handler("events", ("notes", 2), 2)

    async def later() -> None:
        await asyncio.sleep(0)
        raise error

    def fail(notes: Notes) -> Any:
        if notes.notes == [2]:
            if waits:
                return later()
            raise error
        return None

    await node.gen_event.sync_notify("events", fail)
    assert await node.gen_event.which_handlers("events") == [Atom("notes")]
    assert process.alive
    assert (await node.gen_event.call("events", "notes", fail)) is None


async def test_a_reply_that_is_no_term_is_an_error_of_its_caller(node: Node) -> None:
    process = await started(node)
    await node.gen_event.add_handler("events", "notes", 1)
    await node.gen_event.call("events", "notes", lambda notes: object())
    assert process.alive


async def test_messages_of_every_wrong_shape_do_no_harm(node: Node) -> None:
    process = await started(node)
    await node.gen_event.add_handler("events", "notes", 1)
    pid, ref = process.pid, process.make_ref()
    client = (pid, ref)
    words = ("call", "add_handler", "add_sup_handler", "delete_handler", "swap_handler", "swap_sup_handler")
    wrong: list[Any] = [(), (1, 2, 3), (Atom("notify"),), [], (EXIT, 1, 2), (pid, client), (1, client, 1)]
    for word in map(Atom, (*words, "sync_notify", "which_handlers", "nothing")):
        wrong += [(pid, client, (word, *[1] * count)) for count in range(7)] + [(pid, (1, 2), (word, 1))]
    handlers = [Atom("notes"), (Atom("notes"), 1), (1, 2), 7, b"", [], {}, (Atom("notes"), {1: [1.0]})]
    for handler in handlers:
        wrong += [(pid, client, (Atom("add_handler"), handler, 1))]
        wrong += [(pid, client, (Atom("swap_handler"), handler, 1, handler, 1))]
        wrong += [(pid, client, (Atom("add_sup_handler"), handler, 1, handler))]
    gone = node.spawn(lambda *_: None)
    gone.stop()
    for supervisor in (pid, gone.pid, Pid(Atom("nowhere@127.0.0.1"), 1, 0, 1)):
        wrong.append((pid, client, (Atom("add_sup_handler"), (Atom("notes"), 1), 1, supervisor)))
        wrong.append(
            (pid, client, (Atom("swap_sup_handler"), Atom("notes"), 1, Atom("notes"), 1, supervisor))
        )
    for message in wrong * 3:
        node.send("events", message)
    await node.gen_event.sync_notify("events", "alive")
    assert process.alive
    assert all(handler[0] == Atom("notes") for handler in process.server.get_state())  # type: ignore[attr-defined]


async def test_the_number_of_handlers_is_bounded(node: Node) -> None:
    node.serve(GenEvent({"notes": Notes}, max_handlers=2), name="events")
    await node.gen_event.add_handler("events", ("notes", 1))
    await node.gen_event.add_handler("events", ("notes", 2))
    with pytest.raises(NodeError, match="system_limit"):
        await node.gen_event.add_handler("events", ("notes", 3))


async def test_a_manager_that_is_killed_terminates_its_handlers(node: Node) -> None:
    ends: list[Any] = []

    class Closes(EventHandler):
        def terminate(self, args: Any) -> None:
            ends.append(args)

    process = await started(node, closes=Closes)
    await node.gen_event.add_handler("events", "closes")
    other = node._local.runtime.add_process()
    other.exit(process, Atom("kill"))
    assert await ended(process) == Atom("killed")
    await asyncio.sleep(0)
    assert ends == [Atom("stop")]


async def test_a_handler_can_remove_itself_from_a_call(node: Node) -> None:
    await started(node)
    await node.gen_event.add_handler("events", "notes")
    assert await node.gen_event.call("events", "notes", lambda notes: RemoveHandler("bye")) == "bye"
    assert await node.gen_event.which_handlers("events") == []


async def test_a_notification_to_nobody_is_dropped(node: Node) -> None:
    node.gen_event.notify("nobody", 1)
    node.gen_event.notify(Global("nobody"), 1)
    assert node.whereis("nobody") is None
