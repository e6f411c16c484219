"""State machines in Python: how callbacks are found, what they return, and how the machine ends."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from quicdist import (
    POSTPONE,
    Atom,
    ChildSpec,
    Event,
    EventTimeout,
    GenericTimeout,
    GenStatem,
    KeepState,
    NextEvent,
    NextState,
    Node,
    NodeError,
    ProcessEnded,
    Reply,
    StateTimeout,
    Stop,
    Supervisor,
    Via,
    state_function,
)
from quicdist.otp.state_machine_process import MAX_EVENTS
from tests.otp.conftest import ended

LOCKED, OPEN, FUNCTION_CLAUSE = Atom("locked"), Atom("open"), Atom("function_clause")


class Door(GenStatem):
    """A door with a code, as in OTP's Design Principles."""

    state_enter = True

    def __init__(self, code: str) -> None:
        self.code = code
        self.notes: list[Any] = []

    def init(self) -> Any:
        return NextState("locked")

    @state_function()
    def locked(self, event: Event) -> Any:
        match event:
            case Event("enter", old):
                self.notes.append(("locked", old))
                return None
            case Event("call", code) if code == self.code:
                return NextState("open", Reply(True), StateTimeout(0.02, "lock"))
            case Event("call", str()):
                return Reply(False)
            case Event("cast", "push"):
                return POSTPONE

    @state_function("open")
    async def opened(self, event: Event) -> Any:
        await asyncio.sleep(0)
        match event:
            case Event("enter", old):
                return self.notes.append(("open", old))
            case Event("cast", "push"):
                return self.notes.append("pushed")
            case Event("state_timeout", "lock"):
                return NextState("locked")
            case Event("cast", ("stop", reason)):
                return Stop(reason)


class Machine(GenStatem):
    """Does what a cast or call says."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def init(self) -> Any:
        return NextState(0)

    def handle_event(self, event: Event) -> Any:
        self.events.append(event)
        return event.content(self) if callable(event.content) else None


async def test_a_state_function_gets_the_events_of_its_state(node: Node) -> None:
    door = Door("1234")
    process = await node.gen_statem.start(door, name="door")
    assert process is node.whereis("door")
    assert door.state == LOCKED
    node.gen_statem.cast("door", "push")
    assert await node.gen_statem.call("door", "4321") is False
    assert await node.gen_statem.call("door", "1234") is True
    assert door.state == OPEN
    while door.state == OPEN:  # noqa: ASYNC110 - until the state time-out
        await asyncio.sleep(0.005)
    assert door.notes == [("locked", LOCKED), ("open", LOCKED), "pushed", ("locked", OPEN)]
    state, data = await node.sys.get_state("door")
    assert (state, data[Atom("code")]) == (LOCKED, "1234")


async def test_an_event_without_a_case_ends_the_machine_with_function_clause(node: Node) -> None:
    process = node.serve(Door("1"))
    node.gen_statem.cast(process, "unknown")
    reason, [(module, function, arguments, _)] = await ended(process)
    assert reason == FUNCTION_CLAUSE
    assert (module, function) == (Atom(f"{__name__}.Door"), LOCKED)
    assert arguments == [Atom("cast"), "unknown"]


async def test_a_subclass_overrides_a_state_function_by_its_name(node: Node) -> None:
    class Open(Door):
        def locked(self, event: Event) -> Any:
            return Reply("always") if event.type == "call" else None

    assert await node.gen_statem.call(node.serve(Open("1")), "2") == "always"


async def test_a_machine_without_a_callback_for_its_state_ends(node: Node) -> None:
    class Lost(GenStatem):
        def init(self) -> Any:
            return NextState("nowhere")

    process = node.serve(Lost())
    node.gen_statem.cast(process, "x")
    (error, name, text), _ = await ended(process)
    assert (error, name) == (Atom("python_error"), "NotImplementedError")
    assert "no callback for the state" in text


@pytest.mark.parametrize("first", [None, "locked", KeepState(), Reply(1)])
async def test_init_must_return_the_first_state(node: Node, first: Any) -> None:
    class Bad(GenStatem):
        def init(self) -> Any:
            return first

    with pytest.raises(ProcessEnded) as caught:
        await node.gen_statem.start(Bad())
    assert caught.value.reason == (Atom("bad_return_from_init"), repr(first))


@pytest.mark.parametrize(
    ("returned", "reason"),
    [
        (1, "bad_return_from_state_function"),
        ("open", "bad_return_from_state_function"),
        ([1], "bad_action_from_state_function"),
        (Reply(1), "bad_action_from_state_function"),
        (Stop(Atom("x"), 1), "bad_action_from_state_function"),
        (StateTimeout(-1.0), "bad_action_from_state_function"),
        (StateTimeout(float("nan")), "bad_action_from_state_function"),
        (NextEvent("x", "call"), "bad_action_from_state_function"),
        (NextEvent("x", "nothing"), "bad_action_from_state_function"),  # type: ignore[arg-type]
    ],
)
async def test_a_wrong_return_value_ends_the_machine(node: Node, returned: Any, reason: str) -> None:
    process = node.serve(Machine())
    node.gen_statem.cast(process, lambda machine: returned)
    assert (await ended(process))[0][0] == Atom(reason)


async def test_a_message_of_another_process_in_the_form_of_a_timer_is_an_info(node: Node) -> None:
    machine = Machine()
    process = node.serve(machine)
    forged = (Atom("timeout"), process.make_ref(), Atom("state_timeout"))
    node.send(process, forged)
    node.send(process, (Atom("timeout"), 1, 2))
    assert [event.type for event in machine.events] == ["info", "info"]
    assert machine.events[0].content == forged


async def test_the_message_of_a_timer_that_was_cancelled_too_late_is_dropped(node: Node) -> None:
    go = asyncio.Event()

    async def wait(machine: Machine) -> Any:
        await go.wait()
        return GenericTimeout.cancel("slow")

    machine = Machine()
    process = node.serve(machine)
    node.gen_statem.cast(process, lambda machine: GenericTimeout("slow", 0.001, "late"))
    node.gen_statem.cast(process, wait)
    while not process.message_queue_len:  # noqa: ASYNC110 - the timer has expired
        await asyncio.sleep(0.001)
    go.set()
    await node.gen_statem.call(process, lambda machine: Reply("done"))
    assert [event.type for event in machine.events] == ["cast", "cast", "call"]


async def test_a_machine_that_inserts_events_for_ever_does_not_stop_the_event_loop(node: Node) -> None:
    def again(machine: Machine) -> Any:
        return NextEvent(again)

    machine = Machine()
    process = node.serve(machine)
    node.gen_statem.cast(process, again)
    await asyncio.sleep(0)
    assert len(machine.events) >= MAX_EVENTS
    process.stop(Atom("enough"))
    assert await ended(process) == Atom("enough")


async def test_a_time_out_of_zero_comes_before_messages_and_after_inserted_events(node: Node) -> None:
    machine = Machine()
    process = node.serve(machine)

    async def both(machine: Machine) -> Any:
        node.send(process, "message")
        return [EventTimeout(0, "zero"), StateTimeout(0, "state"), NextEvent("inserted")]

    node.gen_statem.cast(process, both)
    while len(machine.events) < 4:  # noqa: ASYNC110
        await asyncio.sleep(0)
    assert [event.type for event in machine.events[1:]] == ["internal", "state_timeout", "info"]


async def test_states_can_be_any_value_and_are_compared_as_terms(node: Node) -> None:
    machine = Machine()
    process = node.serve(machine)
    for state, postponed in ((0, 1), (0.0, 0), ({"a": [1]}, 0), ({"a": [1]}, 1)):
        held: list[Any] = [POSTPONE]
        node.gen_statem.cast(process, lambda machine, held=held: held.pop() if held else None)
        node.gen_statem.cast(process, lambda machine, state=state: NextState(state))
        assert len(process.engine.postponed) == postponed  # type: ignore[attr-defined]
        process.engine.postponed.clear()  # type: ignore[attr-defined]


async def test_the_end_of_a_machine_cancels_its_time_outs(node: Node) -> None:
    process = node.serve(Machine())
    node.gen_statem.cast(process, lambda machine: [StateTimeout(99, "x"), GenericTimeout("n", 99, "y")])
    timers = node._local.runtime.timers
    assert len(timers) == 2
    await node.gen_statem.stop(process)
    assert len(timers) == 0


async def test_a_supervisor_restarts_a_machine(node: Node) -> None:
    supervisor = Supervisor([ChildSpec("door", Door, ["1"], name="door")])
    node.serve(supervisor)
    while (first := node.whereis("door")) is None:  # noqa: ASYNC110
        await asyncio.sleep(0)
    first.stop(Atom("gone"))
    while node.whereis("door") in (None, first):  # noqa: ASYNC110
        await asyncio.sleep(0)
    assert await node.gen_statem.call("door", "1") is True


async def test_serve_refuses_what_is_no_behaviour(node: Node) -> None:
    with pytest.raises(NodeError, match="expected a GenServer"):
        node.serve(object())  # type: ignore[arg-type]


async def test_a_machine_can_have_a_global_or_via_name(node: Node) -> None:
    class Registry:
        def __init__(self) -> None:
            self.names: dict[Any, Any] = {}

        def whereis_name(self, name: Any) -> Any:
            return self.names.get(name)

        def register_name(self, name: Any, pid: Any) -> bool:
            return bool(self.names.setdefault(name, pid) == pid)

        def unregister_name(self, name: Any) -> None:
            del self.names[name]

    via = Via(Registry(), "door")
    process = await node.gen_statem.start(Door("1"), name=via)
    assert process is not None
    assert await node.gen_statem.call(via, "1") is True
    await node.gen_statem.stop(via)
    assert not process.alive
