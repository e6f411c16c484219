"""The engine of a state machine: which event is next, and what a callback's actions do.

It holds no clock and does no I/O. OTP: ``gen_statem(3)``, *Transition actions*: the order of postponed
events, inserted events, time-outs and messages is that of OTP's engine.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from quicdist.node.errors import NodeError
from quicdist.otp.behaviour import represented
from quicdist.otp.gen_messages import From, is_from
from quicdist.otp.gen_server import HIBERNATE, Reply, Stop
from quicdist.otp.gen_statem import (
    POSTPONE,
    UPDATE,
    Event,
    EventTimeout,
    GenericTimeout,
    KeepState,
    NextEvent,
    NextState,
    RepeatState,
    StateTimeout,
)
from quicdist.term import Atom, Reference, TermError, exactly_equal
from quicdist.term.identity import exact_form

_IN, _OUT, _ENTER = Atom("in"), Atom("out"), Atom("enter")
_CONSUME, _POSTPONE, _START_TIMER = Atom("consume"), Atom("postpone"), Atom("start_timer")
_INTERNAL_INIT = Event("internal", Atom("init_state"))
_BAD_RETURN = Atom("bad_return_from_state_function")
_BAD_ENTER_RETURN = Atom("bad_state_enter_return_from_state_function")
_BAD_ACTION = Atom("bad_action_from_state_function")
_BAD_ENTER_ACTION = Atom("bad_state_enter_action_from_state_function")

#: Identifies a time-out: its type, and the name of a generic one.
TimerKey = tuple[str, bytes]
_EVENT: TimerKey = ("timeout", b"")
_STATE: TimerKey = ("state_timeout", b"")

_Timeout = EventTimeout | StateTimeout | GenericTimeout


def bad_return(reason: Atom, value: Any) -> NodeError:
    """The error for something that a callback of a state machine may not return."""
    error = NodeError(f"{reason}: {represented(value)}")
    error.exit_reason = ((reason, represented(value)), [])
    return error


class StateEngine:
    """Orders the events of one state machine.

    ``reply`` sends a reply; ``start_timer`` starts a timer of so many seconds for a type of event, whose
    expiry is told by :meth:`timed_out`; ``cancel_timer`` cancels one, unless it has expired (False).

    While :attr:`due` is an event, the callback for :attr:`state` has to be called with it, and
    :meth:`returned` with its value. Otherwise the machine waits: :meth:`received` gives it an event.
    """

    def __init__(
        self,
        *,
        state_enter: bool,
        reply: Callable[[From, Any], None],
        start_timer: Callable[[float, Any], Reference],
        cancel_timer: Callable[[Reference], bool],
    ) -> None:
        self._state_enter = state_enter
        self._reply = reply
        self._start_timer = start_timer
        self._cancel_timer = cancel_timer
        #: Called with each event of ``sys`` (``{in, Event, State}`` and so on), if there are debug options.
        self.observe: Callable[..., None] | None = None
        #: The state, as callbacks see it.
        self.state: Any = None
        #: The event that the next callback gets; None where the machine waits.
        self.due: Event | None = None
        #: Whether the callback has returned, and its actions are being done.
        self._acting = False
        #: Events that were postponed in this state, the oldest first.
        self.postponed: list[Event] = []
        #: The state before the current transition.
        self._from_state: Any = None
        #: The event that is being handled.
        self._current = _INTERNAL_INIT
        #: Events that come before messages that have not been received.
        self._queue: deque[Event] = deque()
        #: Active time-outs with their events; those of zero seconds have no reference.
        self._timers: dict[TimerKey, tuple[Reference | None, Event]] = {}
        #: The time-outs of zero seconds, the first to come first.
        self._zero: list[TimerKey] = []
        self._by_reference: dict[Reference, TimerKey] = {}
        #: Timers that had expired when they were cancelled: their messages are still to come.
        self._stale: set[Reference] = set()
        # What the actions of the current transition have asked for so far:
        self._inserted: list[Event] = []
        self._timeouts: dict[TimerKey, _Timeout] = {}
        self._postpone = False

    # -- events ------------------------------------------------------------------------------------

    def begin(self, state: Any, actions: Iterable[Any]) -> None:
        """Enter the first state."""
        self.state = self._from_state = state
        if self.observe is not None:
            self.observe(_ENTER, None, state)
        self._transition(state, actions, enter=True)
        self._postpone = False

    def received(self, event: Event) -> None:
        """An event came while the machine waited."""
        self._came(event)
        self._handle(event)

    def _came(self, event: Event) -> None:
        if self.observe is not None:
            self.observe(_IN, event.to_term(), self.state)

    def timed_out(self, reference: Reference) -> bool:
        """A timer has expired while the machine waited. False if it is no active timer of this machine: then
        its message is an ordinary one."""
        key = self._by_reference.pop(reference, None)
        if key is None:
            if reference not in self._stale:
                return False
            self._stale.remove(reference)
            return True
        event = self._timers.pop(key)[1]
        self._came(event)
        self._handle(event)
        return True

    def _handle(self, event: Event) -> None:
        self._current = self.due = event
        self._from_state = self.state
        self._inserted, self._timeouts, self._postpone = [], {}, False
        self._acting = False

    @property
    def queue(self) -> list[Event]:
        """The event that is being handled, and those that come before further messages."""
        return [self._current, *self._queue]

    @property
    def active_timeouts(self) -> list[Event]:
        """The events of the active time-outs."""
        return [event for _, event in self._timers.values()]

    def failed(self) -> None:
        """The machine ends with an error. If the callback has raised it, the state is again that before the
        transition, as in OTP."""
        if not self._acting:
            self.state = self._from_state

    # -- what callbacks return ---------------------------------------------------------------------

    def returned(self, result: Any) -> None:
        """The callback has returned something else than a ``Stop``. Raises :class:`NodeError` for
        what a callback may not return."""
        self._acting = True
        entering = self.due is not None and self.due.type == "enter"
        match result:
            case NextState():
                if entering and not same(result.state, self.state):
                    raise bad_return(_BAD_ENTER_RETURN, result)
                change = not same(result.state, self.state)
                self._transition(result.state, result.actions, enter=change, entering=entering)
            case KeepState() | RepeatState():
                repeat = isinstance(result, RepeatState)
                self._transition(self.state, result.actions, enter=repeat, entering=entering)
            case None:
                self._transition(self.state, (), enter=False, entering=entering)
            case list():
                self._transition(self.state, result, enter=False, entering=entering)
            case _ if is_action(result):
                self._transition(self.state, (result,), enter=False, entering=entering)
            case _:
                raise bad_return(_BAD_RETURN, result)

    def answer(self, stop: Stop) -> None:
        """Reply to the current call before the machine stops. Raises
        :class:`NodeError` if there is none."""
        self._answer(stop.reply, stop)

    def _answer(self, value: Any, result: Any) -> None:
        sender = self._current.sender
        if self._current.type != "call" or sender is None:
            raise bad_return(_BAD_ACTION, result)
        self._reply(sender, value)
        if self.observe is not None:
            self.observe(_OUT, value, sender)

    def _transition(self, state: Any, actions: Iterable[Any], *, enter: bool, entering: bool = False) -> None:
        previous, self.state = self._from_state, state
        for action in actions:
            self._act(action, entering)
        if enter and self._state_enter:
            self.due = Event("enter", previous)
            self._acting = False
            return
        self._transition_done()

    def _act(self, action: Any, entering: bool) -> None:
        match action:
            case Reply(then=None):
                self._answer(action.value, action)
            case NextEvent():
                event = _inserted(action)
                if event is None or entering:
                    raise bad_return(_BAD_ENTER_ACTION if entering else _BAD_ACTION, action)
                self._inserted.append(event)
                self._came(event)
            case EventTimeout() | StateTimeout() | GenericTimeout():
                if not _is_time(action.seconds):
                    raise bad_return(_BAD_ACTION, action)
                key = _key(action)
                self._timeouts.pop(key, None)  # the last one of each type counts, in its place
                self._timeouts[key] = action
            case _ if action is POSTPONE:
                if entering:
                    raise bad_return(_BAD_ENTER_ACTION, action)
                self._postpone = True
            case _ if action == HIBERNATE:
                pass
            case _:
                raise bad_return(_BAD_ACTION, action)

    def _transition_done(self) -> None:
        """All actions are known: order the events, and go on to the next one."""
        if self.observe is not None:
            kind = _POSTPONE if self._postpone else _CONSUME
            self.observe(kind, self._current.to_term(), self._from_state, self.state)
        if self._postpone:
            self.postponed.append(self._current)
        self._cancel(_EVENT)
        if not same(self.state, self._from_state):
            self._queue.extendleft(reversed(self.postponed))
            self.postponed = []
            self._cancel(_STATE)
        # As in OTP: timers are started from the last action to the first, time-outs of zero seconds come
        # in the order of the actions.
        due = [key for key, timeout in reversed(self._timeouts.items()) if self._start(key, timeout)]
        self._zero += reversed(due)
        self._queue.extendleft(reversed(self._inserted))
        if self._queue:
            self._handle(self._queue.popleft())
        elif self._zero:
            event = self._timers.pop(self._zero.pop(0))[1]
            self._came(event)
            self._handle(event)
        else:
            self.due = None

    # -- time-outs ---------------------------------------------------------------------------------

    def _start(self, key: TimerKey, timeout: _Timeout) -> bool:
        """Start, update or cancel a time-out; whether it is one of zero seconds."""
        seconds, event = timeout.seconds, _expiry(timeout)
        if seconds is UPDATE:
            if key in self._timers:
                self._timers[key] = self._timers[key][0], event
                return False
            seconds = 0
        self._cancel(key)
        if seconds is None:
            return False
        if self.observe is not None:
            milliseconds = round(seconds * 1000) if isinstance(seconds, int | float) else 0
            action: Any = (event.type_term(), milliseconds, event.content, [])
            self.observe(_START_TIMER, action, self.state)
        if not seconds:
            self._timers[key] = None, event
            return True
        assert isinstance(seconds, int | float)
        reference = self._start_timer(seconds, event.type_term())
        self._timers[key] = reference, event
        self._by_reference[reference] = key
        return False

    def _cancel(self, key: TimerKey) -> None:
        active = self._timers.pop(key, None)
        if active is None:
            return
        if active[0] is None:
            self._zero.remove(key)
        else:
            del self._by_reference[active[0]]
            if not self._cancel_timer(active[0]):
                self._stale.add(active[0])


def same(one: Any, other: Any) -> bool:
    """Whether two states are the same, ``One =:= Other``; of values that are no terms, as Python compares
    them."""
    if one is other:
        return True
    try:
        return exactly_equal(one, other)
    except TermError:
        return bool(one == other)


def is_action(value: Any) -> bool:
    """Whether a callback may return it as its only action."""
    actions = Reply | NextEvent | EventTimeout | StateTimeout | GenericTimeout
    return isinstance(value, actions) or value is POSTPONE or value == HIBERNATE


def _inserted(action: NextEvent) -> Event | None:
    """The event to insert; None if there is no such event."""
    kinds = ("call", "cast", "info", "internal", "timeout", "state_timeout", "generic_timeout")
    if action.type not in kinds or (action.type == "call") != is_from(action.sender):
        return None
    return Event(action.type, action.content, action.sender, action.name)


def _is_time(seconds: Any) -> bool:
    return seconds is None or seconds is UPDATE or (isinstance(seconds, int | float) and seconds >= 0)


def _key(timeout: _Timeout) -> TimerKey:
    match timeout:
        case EventTimeout():
            return _EVENT
        case StateTimeout():
            return _STATE
    return ("generic_timeout", exact_form(timeout.name))


def _expiry(timeout: _Timeout) -> Event:
    """The event that comes when a time-out expires."""
    match timeout:
        case EventTimeout():
            return Event("timeout", timeout.content)
        case StateTimeout():
            return Event("state_timeout", timeout.content)
    return Event("generic_timeout", timeout.content, name=timeout.name)
