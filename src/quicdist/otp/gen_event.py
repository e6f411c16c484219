"""``gen_event``: event managers, and the base class of their handlers.

OTP: ``gen_event(3)``; Design Principles, *gen_event Behaviour*. The callbacks of a handler can be plain
functions or coroutine functions; while a coroutine waits, the manager waits too.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from quicdist.containment import settle
from quicdist.logs import RateLimit, get_logger
from quicdist.node.errors import NodeError
from quicdist.node.exit_reason import ERROR, EXIT, UNDEF, error_term, failure
from quicdist.node.process import Process
from quicdist.node.reports import MAX_REPORTS, PERIOD, Shown
from quicdist.otp.behaviour import Behaviour, public_attributes, represented
from quicdist.otp.errors import function_clause
from quicdist.otp.function_clause import NO_CLAUSE, with_clauses
from quicdist.otp.gen_messages import handler_term
from quicdist.otp.gen_server import HIBERNATE, Reply
from quicdist.term import Atom, Pid, TermError
from quicdist.term.identity import exact_form
from quicdist.term.names import Name, name_of
from quicdist.term.shorten import shorten

log = get_logger("quicdist.otp")
#: Log lines about unexpected messages, for each class.
_unexpected = RateLimit(MAX_REPORTS, PERIOD)

#: Handlers that a manager can have by default. Other nodes can add them, and each costs time for each event.
MAX_HANDLERS: Final = 1000

_OK = Atom("ok")
_NORMAL, _SHUTDOWN, _SWAPPED = Atom("normal"), Atom("shutdown"), Atom("swapped")
_STOP, _REMOVE, _DELETE = Atom("stop"), Atom("remove"), Atom("delete")
_REMOVE_HANDLER, _PARENT_TERMINATED = Atom("remove_handler"), Atom("parent_terminated")
_GEN_EVENT_EXIT = Atom("gen_event_EXIT")
_INIT = Atom("init")
_MODULE_NOT_FOUND, _BAD_MODULE = Atom("module_not_found"), Atom("bad_module")
_SYSTEM_LIMIT, _BADARG = Atom("system_limit"), Atom("badarg")


@dataclass(frozen=True, slots=True)
class RemoveHandler:
    """Remove this handler (``remove_handler``); from ``handle_call``, reply with ``reply``."""

    reply: Any = None


@dataclass(frozen=True, slots=True)
class SwapHandler:
    """Replace this handler (``{swap_handler, Args, State, NewHandler, NewArgs}``): it is terminated with
    ``args``, and ``handler``, a name or ``(name, id)``, is made with ``(new_args, Result)``, where ``Result``
    is what ``terminate`` has returned. From ``handle_call``, reply with ``reply``."""

    args: Any
    handler: Any
    new_args: Any
    reply: Any = None


class EventHandler:
    """Base class of event handlers; override the callbacks that are needed. The object is the state.

    It is made with the arguments of ``gen_event:add_handler``. Where making it, or ``init``, raises, it is
    not added. ``self.manager`` is the process of its manager, from ``init`` on. Callbacks return:

    - ``handle_event``, ``handle_info``: None, :class:`RemoveHandler` or :class:`SwapHandler`;
    - ``handle_call``: the reply; or :class:`RemoveHandler` or :class:`SwapHandler` with the reply.

    A callback that raises, returns something else, or ends in ``match event:`` without a case for its
    argument, ends the handler: ``terminate`` gets ``{error, Reason}``, it is reported and removed. The
    manager and its other handlers go on.
    """

    manager: Process

    def __init__(self, args: Any = None) -> None:
        pass

    def init(self) -> Any:
        """Called once, when it is added. A value other than None is the answer in place of ``ok``, and the
        handler is not added."""

    def handle_event(self, event: Any) -> Any:
        """An event (``notify``, ``sync_notify``)."""
        raise NotImplementedError(f"{type(self).__name__} has no handle_event, got {represented(event)}")

    def handle_call(self, request: Any) -> Any:
        """A call to this handler (``gen_event:call``)."""
        raise NotImplementedError(f"{type(self).__name__} has no handle_call, got {represented(request)}")

    def handle_info(self, message: Any) -> Any:
        """Any other message to the manager; logged unless overridden, as ``gen_event`` does."""
        note = _unexpected.admit(type(self).__qualname__)
        if note is not None:
            log.warning("%r got an unexpected message: %s%s", self.manager, Shown(message), note)

    def terminate(self, args: Any) -> Any:
        """Called when the handler is removed. ``args`` are those of ``delete_handler`` or a swap; or
        ``stop``, the manager ends; ``{stop, Reason}``, the process that supervises the handler has ended;
        ``remove_handler``; ``{error, Reason}``. What it returns is the answer of ``delete_handler``."""
        return _OK

    def get_state(self) -> Any:
        """The state that ``sys:get_state`` shows: by default a map of the public attributes."""
        state = Behaviour.get_state(self)  # type: ignore[arg-type]
        state.pop(Atom("manager"), None)
        return state

    def replace_state(self, state: Any) -> Any:
        """Set the state that ``sys:replace_state`` computed from that of :meth:`get_state`."""
        raise NotImplementedError(f"{type(self).__name__} has no replace_state")

    def code_change(self, old_version: Any, extra: Any) -> Any:
        """Called by ``sys:change_code`` with the name of this handler (``code_change/3``)."""


#: Makes a handler from the arguments of ``add_handler``: a class, or a function.
HandlerFactory = Callable[[Any], EventHandler]


@dataclass(slots=True, eq=False)
class Installed:
    """A handler of a manager: its name, its id (None for a handler without one), and the process that
    supervises it."""

    module: Atom
    id: tuple[Any] | None
    handler: EventHandler
    supervisor: Pid | None = None

    @property
    def key(self) -> Any:
        """``Module`` or ``{Module, Id}``."""
        return self.module if self.id is None else (self.module, self.id[0])

    @property
    def id_term(self) -> Any:
        """The id in terms of ``sys``: ``false`` where there is none."""
        return False if self.id is None else self.id[0]


class GenEvent(Behaviour):
    """An event manager; ``node.serve(GenEvent(...))`` starts it.

    ``handlers`` are the handlers that can be added, by the names of their modules in Erlang: classes derived
    from :class:`EventHandler`, or functions that return one. Programs of all nodes add them, by
    ``gen_event:add_handler(Manager, Name, Args)`` or ``node.gen_event.add_handler``. ``install`` are those
    that are there from the start: ``(name, args)``, where a name may be ``(name, id)``. With
    ``max_handlers`` handlers further ones are refused with ``{error, system_limit}``.
    """

    behaviour: ClassVar[Atom] = Atom("gen_event")

    def __init__(
        self,
        handlers: Mapping[str, HandlerFactory] | Mapping[Name, HandlerFactory],
        *,
        install: Iterable[tuple[Any, Any]] = (),
        max_handlers: int = MAX_HANDLERS,
    ) -> None:
        self._factories = {name_of(name): factory for name, factory in handlers.items()}
        self._install = list(install)
        self._max_handlers = max_handlers
        #: The handlers, the newest first.
        self._handlers: list[Installed] = []

    async def init(self) -> Any:
        self.process.trap_exit = True
        for handler, args in self._install:
            answer = await self.add(handler_term(handler), args, None)
            if answer != _OK:
                raise NodeError(f"cannot install the event handler {handler!r}: {represented(answer)}")

    @property
    def installed(self) -> list[Installed]:
        """Its handlers, the newest first."""
        return self._handlers

    def which_handlers(self) -> list[Any]:
        """The handlers, the newest first: each ``Module`` or ``{Module, Id}``
        (``gen_event:which_handlers/1``)."""
        return [installed.key for installed in self._handlers]

    def _find(self, key: Any) -> Installed | None:
        wanted = exact_form(key)
        return next((one for one in self._handlers if exact_form(one.key) == wanted), None)

    # -- handlers that come and go -----------------------------------------------------------------

    async def add(self, key: Any, args: Any, supervisor: Pid | None) -> Any:
        """Add a handler: ``ok``, or why it was not added."""
        if supervisor is not None:
            self.process.link(supervisor)
        if len(self._handlers) >= self._max_handlers:
            return (ERROR, _SYSTEM_LIMIT)
        installed, answer = await self._made(key, args, supervisor)
        if installed is not None:
            self._handlers.insert(0, installed)
        return answer

    async def _made(self, key: Any, args: Any, supervisor: Pid | None) -> tuple[Installed | None, Any]:
        """A new handler and ``ok``, or None and the reason."""
        match key:
            case Atom() as module:
                key_id = None
            case (Atom() as module, any_id):
                key_id = (any_id,)
            case _:
                return None, (EXIT, (_BADARG, []))
        factory = self._factories.get(module.name)
        if factory is None:
            return None, (EXIT, (UNDEF, [(module, _INIT, [args], [])]))

        async def make() -> Any:
            handler = factory(args)
            if not isinstance(handler, EventHandler):
                raise NodeError(f"{module}: expected an EventHandler, got {represented(handler)}")
            handler.manager = self.process
            answer = handler.init()
            if isinstance(answer, Awaitable):
                answer = await answer
            return handler, answer

        made, error = await settle(make())
        if error is not None:
            return None, caught(error)
        handler, answer = made
        if answer is not None and answer != HIBERNATE:
            return None, answer
        return Installed(module, key_id, handler, supervisor), _OK

    async def delete(self, key: Any, args: Any) -> Any:
        """Remove a handler; what its ``terminate`` has returned."""
        installed = self._find(key)
        if installed is None:
            return (ERROR, _MODULE_NOT_FOUND)
        self._handlers.remove(installed)
        return await self._end(installed, args, _DELETE, _NORMAL)

    async def swap(self, old: Any, args: Any, new: Any, new_args: Any, supervisor: Pid | None) -> Any:
        """Replace a handler: ``ok`` or ``{error, Reason}``."""
        installed = self._find(old)
        result: Any = ERROR
        if installed is not None:
            self._handlers.remove(installed)
            heir: Any = supervisor or installed.supervisor or False
            result = await self._end(installed, args, _SWAPPED, (_SWAPPED, new, heir))
            supervisor = supervisor or installed.supervisor
        answer = await self.add(new, (new_args, result), supervisor)
        return _OK if answer == _OK else (ERROR, answer)

    async def _swap_itself(self, installed: Installed, swap: SwapHandler) -> None:
        """A handler has asked to be replaced: the new one takes its place in the order."""
        place = self._handlers.index(installed)
        key = handler_term(swap.handler)
        reason = (_SWAPPED, key, installed.supervisor or False)
        result = await self._end(installed, swap.args, _SWAPPED, reason)
        made, answer = await self._made(key, (swap.new_args, result), installed.supervisor)
        if made is None:
            self._handlers.remove(installed)
            failed = Installed(*_split(key), installed.handler, installed.supervisor)
            self._report(failed, (ERROR, answer), None, False, None)
            self._tell_supervisor(failed, (ERROR, answer))
        else:
            self._handlers[place] = made

    async def _end(
        self,
        installed: Installed,
        args: Any,
        last: Any,
        reason: Any,
        failed: BaseException | None = None,
    ) -> Any:
        """Terminate a handler, tell its supervisor, and report it where ``reason`` is an error; ``failed``
        is what it has raised."""
        handler = installed.handler
        in_order = reason in (_NORMAL, _SHUTDOWN) or (isinstance(reason, tuple) and reason[0] is _SWAPPED)
        state = None if in_order else _reported(handler)
        value, error = await settle(_called(handler.terminate, args))
        if not in_order:
            self._report(installed, reason, last, state, failed)
        self._tell_supervisor(installed, reason)
        if error is not None:
            return caught(error)
        return _OK if value is None else value

    def _tell_supervisor(self, installed: Installed, reason: Any) -> None:
        if installed.supervisor is None:
            return
        try:
            self.process.send(installed.supervisor, (_GEN_EVENT_EXIT, installed.key, reason))
        except TermError as error:
            told = (_GEN_EVENT_EXIT, installed.key, error_term(error))
            self.process.send(installed.supervisor, told)

    def _report(
        self, installed: Installed, reason: Any, last: Any, state: Any, error: BaseException | None
    ) -> None:
        reports = self.process.node._services.reports
        reports.handler_failed(self.process, installed.key, last, state, reason, error)

    # -- events ------------------------------------------------------------------------------------

    def notify(self, callback: str, message: Any) -> Awaitable[None] | None:
        """Call a callback of all handlers; an awaitable if something has to be awaited."""
        handlers = list(self._handlers)
        for number, installed in enumerate(handlers):
            try:
                result = _call(installed.handler, callback, message)
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                return self._notify_others(callback, message, handlers[number:], None, error)
            if result is not None and result != HIBERNATE:
                return self._notify_others(callback, message, handlers[number:], result, None)
        return None

    async def _notify_others(
        self,
        callback: str,
        message: Any,
        handlers: list[Installed],
        result: Any,
        error: BaseException | None,
    ) -> None:
        """The first of ``handlers`` has returned ``result`` or raised ``error``: see to that, and go on
        with the others."""
        for number, installed in enumerate(handlers):
            if number:
                result, error = await settle(_called(_call, installed.handler, callback, message))
            elif isinstance(result, Awaitable):
                result, error = await settle(result)
            if error is None and result is NO_CLAUSE:
                result, error = None, function_clause(installed.handler, callback, message)
            match result:
                case _ if error is not None:
                    await self._crash(installed, message, caught(error), error)
                case None:
                    pass
                case RemoveHandler():
                    self._handlers.remove(installed)
                    await self._end(installed, _REMOVE_HANDLER, _REMOVE, _NORMAL)
                case SwapHandler():
                    await self._swap_itself(installed, result)
                case _ if result != HIBERNATE:
                    await self._crash(installed, message, result)

    async def _crash(
        self, installed: Installed, message: Any, reason: Any, error: BaseException | None = None
    ) -> None:
        self._handlers.remove(installed)
        await self._end(installed, (ERROR, reason), message, reason, error)

    async def call(self, key: Any, request: Any) -> Any:
        """Call one handler; its reply."""
        installed = self._find(key)
        if installed is None:
            return (ERROR, _BAD_MODULE)
        result, error = await settle(_called(_call, installed.handler, "handle_call", request))
        if error is None and result is NO_CLAUSE:
            error = function_clause(installed.handler, "handle_call", request)
        if error is not None:
            reason = caught(error)
            await self._crash(installed, request, reason, error)
            return (ERROR, reason)
        match result:
            case RemoveHandler():
                self._handlers.remove(installed)
                await self._end(installed, _REMOVE_HANDLER, _REMOVE, _NORMAL)
                return result.reply
            case SwapHandler():
                await self._swap_itself(installed, result)
                return result.reply
            case Reply():
                return result.value
        return result

    async def supervisor_ended(self, pid: Pid, reason: Any) -> None:
        """A linked process has ended: terminate the handlers that it supervises, and tell the others."""
        for installed in [one for one in self._handlers if one.supervisor == pid]:
            self._handlers.remove(installed)
            await self._end(installed, (_STOP, reason), (_PARENT_TERMINATED, (pid, reason)), _SHUTDOWN)
        telling = self.notify("handle_info", (EXIT, pid, reason))
        if telling is not None:
            await telling

    async def terminate(self, reason: Any) -> None:
        """Terminate all handlers with ``stop``."""
        handlers, self._handlers = self._handlers, []
        for installed in handlers:
            await self._end(installed, _STOP, _STOP, _SHUTDOWN)
            if installed.supervisor is not None and installed.supervisor != self.process.parent:
                self.process.unlink(installed.supervisor)

    # -- for the module sys ------------------------------------------------------------------------

    def get_state(self) -> Any:
        """``[{Module, Id, State}]``."""
        return [(one.module, one.id_term, one.handler.get_state()) for one in self._handlers]

    def reported_state(self) -> Any:
        return [(one.module, one.id_term, _reported(one.handler)) for one in self._handlers]

    async def replace_with(self, apply: Callable[[Any], Awaitable[Any]]) -> None:
        """Replace the state of each handler by that which ``apply`` makes of ``{Module, Id, State}``. As in
        OTP a handler for which that fails keeps its own."""
        for installed in list(self._handlers):
            await settle(self._replace_one(installed, apply))

    async def _replace_one(self, installed: Installed, apply: Callable[[Any], Awaitable[Any]]) -> None:
        before = (installed.module, installed.id_term, installed.handler.get_state())
        module, handler_id, state = await apply(before)
        if exact_form((module, handler_id)) == exact_form(before[:2]):
            await _called(installed.handler.replace_state, state)

    async def code_change_of(self, module: Any, old_version: Any, extra: Any) -> None:
        """``code_change`` of the handlers of one module."""
        for installed in list(self._handlers):
            if installed.module == module:
                await _called(installed.handler.code_change, old_version, extra)


def caught(error: BaseException) -> Any:
    """What ``catch`` of Erlang gives for an exception: ``{'EXIT', Reason}``, with the stack for an error."""
    _, reason, *stack = failure(error)
    return (EXIT, (reason, stack[0]) if stack else reason)


def _split(key: Any) -> tuple[Atom, tuple[Any] | None]:
    return (key[0], (key[1],)) if isinstance(key, tuple) else (key, None)


def _call(handler: EventHandler, name: str, argument: Any) -> Any:
    """Call a callback, in the version that detects a missing case if there is one."""
    callback = getattr(handler, name)
    known = with_clauses(type(handler), _CALLBACKS).get(name)
    if known is not None and getattr(callback, "__func__", None) is known[0]:
        return known[1](handler, argument)
    return callback(argument)


_CALLBACKS = ("handle_event", "handle_call", "handle_info")


async def _called(function: Callable[..., Any], *args: Any) -> Any:
    result = function(*args)
    return await result if inspect.isawaitable(result) else result


def _reported(handler: EventHandler) -> Any:
    """The state of a handler for a report, cut to a bounded size."""
    try:
        if type(handler).get_state is not EventHandler.get_state:
            return shorten(handler.get_state())
        attributes = public_attributes(handler)  # type: ignore[arg-type]
        attributes.pop(Atom("manager"), None)
        return shorten(attributes)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        return f"<no state: {type(error).__qualname__}>"
