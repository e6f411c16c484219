"""``gen_statem``: the base class of state machines, their events, and what callbacks return.

OTP: ``gen_statem(3)``; Design Principles, *gen_statem Behaviour*. The callbacks can be plain functions or
coroutine functions; while a coroutine waits, later events wait too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Literal, Self, TypeVar

from quicdist.otp.behaviour import Behaviour, public_attributes, represented
from quicdist.otp.gen_messages import From
from quicdist.otp.gen_server import Reply
from quicdist.term import Atom
from quicdist.term.names import named_term
from quicdist.term.shorten import shorten

F = TypeVar("F", bound=Callable[..., Any])

#: The types of events: a call, a cast, any other message (``info``), an event that the machine has inserted
#: itself (``internal``), the three time-outs, and the entry of a state.
EventType = Literal[
    "call", "cast", "info", "internal", "timeout", "state_timeout", "generic_timeout", "enter"
]
#: The types that :class:`NextEvent` can insert.
InsertedType = Literal["call", "cast", "info", "internal", "timeout", "state_timeout", "generic_timeout"]


@dataclass(frozen=True, slots=True)
class Event:
    """An event, the argument of the callbacks.

    ``content`` is the request of a call or cast, the message of an ``info``, the content that was given to a
    time-out or an inserted event, and the state before for ``enter``. ``sender`` is the client of a call,
    ``name`` the name of a generic time-out (``{timeout, Name}``).
    """

    type: EventType
    content: Any = None
    sender: From | None = None
    name: Any = None

    def type_term(self) -> Any:
        """The type as OTP's term: ``{call, From}``, ``cast``, ``{timeout, Name}``, ..."""
        if self.type == "call":
            return (Atom("call"), self.sender)
        return (_TIMEOUT, self.name) if self.type == "generic_timeout" else Atom(self.type)

    def to_term(self) -> tuple[Any, Any]:
        """``{Type, Content}``."""
        return (self.type_term(), self.content)


_TIMEOUT = Atom("timeout")


# -- actions -------------------------------------------------------------------------------------------


class _Postpone:
    def __repr__(self) -> str:
        return "POSTPONE"


#: Handle the current event again after the next change of state, before newer events (``postpone``).
POSTPONE: Final = _Postpone()


@dataclass(frozen=True, slots=True)
class NextEvent:
    """Handle this event next, before all that wait (``{next_event, Type, Content}``). ``sender`` is the
    client of a ``call``, ``name`` the name of a ``generic_timeout``."""

    content: Any = None
    type: InsertedType = "internal"
    sender: From | None = None
    name: Any = None


class _Update:
    def __repr__(self) -> str:
        return "UPDATE"


#: In place of the seconds of a time-out: keep its time.
UPDATE: Final = _Update()

#: Seconds; None is never (``infinity``), which cancels the time-out.
TimeoutTime = float | None | _Update


@dataclass(frozen=True, slots=True)
class EventTimeout:
    """Start the event time-out (``{timeout, Time, Content}``): after so many seconds comes the event
    ``timeout``, unless another event comes first. After 0 seconds it comes before messages that have not
    been received. None cancels it."""

    seconds: TimeoutTime
    content: Any = None

    @classmethod
    def cancel(cls) -> Self:
        """Cancel the time-out (``{timeout, cancel}``)."""
        return cls(None)

    @classmethod
    def update(cls, content: Any) -> Self:
        """Change the content, not the time (``{timeout, update, Content}``). Where no time-out is running
        it comes at once."""
        return cls(UPDATE, content)


@dataclass(frozen=True, slots=True)
class StateTimeout:
    """Start the state time-out (``{state_timeout, Time, Content}``): after so many seconds comes the event
    ``state_timeout``, unless the state changes first. None cancels it."""

    seconds: TimeoutTime
    content: Any = None

    @classmethod
    def cancel(cls) -> Self:
        """Cancel the time-out (``{state_timeout, cancel}``)."""
        return cls(None)

    @classmethod
    def update(cls, content: Any) -> Self:
        """Change the content, not the time (``{state_timeout, update, Content}``). Where no time-out is
        running it comes at once."""
        return cls(UPDATE, content)


@dataclass(frozen=True, slots=True)
class GenericTimeout:
    """Start the time-out of this name (``{{timeout, Name}, Time, Content}``): after so many seconds comes
    the event ``generic_timeout`` with the name, whatever happens in between. None cancels it. The name is any
    term; a ``str`` stands for the atom."""

    name: Any
    seconds: TimeoutTime
    content: Any = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", named_term(self.name))

    @classmethod
    def cancel(cls, name: Any) -> Self:
        """Cancel the time-out of this name (``{{timeout, Name}, cancel}``)."""
        return cls(name, None)

    @classmethod
    def update(cls, name: Any, content: Any) -> Self:
        """Change the content, not the time (``{{timeout, Name}, update, Content}``). Where no time-out of
        this name is running it comes at once."""
        return cls(name, UPDATE, content)


#: What a callback can ask for besides a state. :class:`Reply` answers the call that is the current event;
#: ``HIBERNATE`` has no effect.
Action = Reply | NextEvent | EventTimeout | StateTimeout | GenericTimeout | _Postpone | Atom


# -- transitions -----------------------------------------------------------------------------------------


class _Transition:
    __slots__ = ("actions",)

    def __init__(self, *actions: Action) -> None:
        self.actions = actions

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self.actions))})"


class NextState(_Transition):
    """Change to a state, which may be the same (``{next_state, State, Data, Actions}``). A state is any
    term; a ``str`` stands for the atom."""

    __slots__ = ("state",)

    def __init__(self, state: Any, *actions: Action) -> None:
        super().__init__(*actions)
        self.state = named_term(state)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, (self.state, *self.actions)))})"


class KeepState(_Transition):
    """Stay in the state (``{keep_state, Data, Actions}``). A callback that returns None, an action or a list
    of actions means the same."""

    __slots__ = ()


class RepeatState(_Transition):
    """Stay in the state, and enter it once more if there are state enter calls
    (``{repeat_state, Data, Actions}``). Postponed events are not retried."""

    __slots__ = ()


# -- the base class --------------------------------------------------------------------------------------

_STATES = "__quicdist_states__"


def state_function(*states: Any) -> Callable[[F], F]:
    """Decorator: the method is the callback for events in these states; without one, in the state of its
    name. A ``str`` stands for the atom."""

    def marked(function: F) -> F:
        names = states or (function.__name__,)
        setattr(function, _STATES, [named_term(name) for name in names])
        return function

    return marked


class GenStatem(Behaviour):
    """Base class of state machines.

    ``init`` returns the first state, as :class:`NextState`. Each event goes to the method that
    :func:`state_function` marks for the current state, or else to :meth:`handle_event`. Both get the
    :class:`Event` and return

    - :class:`NextState`, :class:`KeepState` or :class:`RepeatState`, with actions;
    - None, an action or a list of actions, which keep the state;
    - :class:`Stop`, with the reply to the current call if there is one.

    The object is the data. ``self.state`` is the current state: an :class:`Atom` where it was given as a
    ``str``. With ``state_enter = True`` the callback gets the event ``enter`` whenever a state is entered,
    with the state before as content; it may not change the state then, nor postpone or insert events.

    If a callback ends in ``match event:`` and has no case for an event, the machine ends with
    ``function_clause``, as other exceptions end it. ``self.process`` is its process, ``self.reply`` answers
    a call at any time.
    """

    behaviour: ClassVar[Atom] = Atom("gen_statem")
    #: Whether there are state enter calls.
    state_enter: ClassVar[bool] = False
    #: The names of the methods by state.
    state_functions: ClassVar[dict[Atom, str]] = {}
    matching_callbacks: ClassVar[tuple[str, ...]] = ("handle_event",)
    _state: Any = None

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        functions: dict[Any, str] = {}
        for base in reversed(cls.__mro__):
            for name, member in vars(base).items():
                for state in getattr(member, _STATES, ()):
                    functions[state] = name
        cls.state_functions = functions
        cls.matching_callbacks = ("handle_event", *sorted(set(functions.values())))

    @property
    def state(self) -> Any:
        """The current state; during a state enter call, the new one."""
        return self._state

    def init(self) -> Any:
        """Called once; returns the first state as :class:`NextState`, or :class:`Stop` or ``IGNORE``."""
        raise NotImplementedError(f"{type(self).__name__} has no init, which returns the first state")

    def handle_event(self, event: Event) -> Any:
        """An event in a state without a :func:`state_function`."""
        raise NotImplementedError(
            f"{type(self).__name__} has no callback for the state {represented(self.state)}, "
            f"got {represented(event)}"
        )

    # -- for the module sys ------------------------------------------------------------------------

    def get_data(self) -> Any:
        """The data that ``sys:get_state`` shows: by default a map of the public attributes; values that
        cannot be encoded are shown as text."""
        return Behaviour.get_state(self)

    def get_state(self) -> Any:
        """``{State, Data}``."""
        return (self.state, self.get_data())

    def reported_state(self) -> Any:
        if type(self).get_data is not GenStatem.get_data:
            return shorten((self.state, self.get_data()))
        return shorten((self.state, public_attributes(self)))

    def replace_state(self, state: Any) -> Any:
        """Set state and data as ``sys:replace_state`` computed them; the data by :meth:`replace_data`."""
        if not isinstance(state, tuple) or len(state) != 2:
            raise ValueError(f"expected (state, data), got {represented(state)}")
        self._state = named_term(state[0])
        return self.replace_data(state[1])

    def replace_data(self, data: Any) -> Any:
        """Set the data that ``sys:replace_state`` computed from that of :meth:`get_data`. The state is
        replaced already."""
        raise NotImplementedError(f"{type(self).__name__} has no replace_data")
