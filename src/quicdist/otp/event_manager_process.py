"""The process of a :class:`GenEvent`: reads its messages and replies to its clients.

OTP: ``gen_event(3)``. A request is ``{Client, From, Request}``, a notification ``{notify, Event}``.
"""

from __future__ import annotations

from typing import Any

from quicdist.node.exit_reason import EXIT
from quicdist.otp.debug_options import IN
from quicdist.otp.gen_event import GenEvent
from quicdist.otp.gen_messages import From, is_from
from quicdist.otp.gen_messages import reply as gen_reply
from quicdist.otp.server_loop import ServerLoop
from quicdist.term import Atom, Pid, TermError, charlist

_NOTIFY, _OK, _ERROR = Atom("notify"), Atom("ok"), Atom("error")


class EventManagerProcess(ServerLoop):
    """Runs a :class:`GenEvent`: one message at a time."""

    __slots__ = ()

    server: GenEvent
    status_kind = "event handler"

    def entered(self, result: Any) -> None:
        """``init`` asks for nothing."""

    def handle_message(self, kind: Atom | None, sender: Any, request: Any, message: Any) -> None:
        server = self.server
        if self.debug is not None:
            self.debug.event(IN, message)
        match message:
            case (tag, event) if tag is _NOTIFY:
                self._notify("handle_event", event)
            case (_, client, command) if is_from(client) and self._is_command(command):
                self.await_code(self._answer(command), lambda reply: self._reply(client, reply))
            case (tag, Pid() as pid, reason) if tag is EXIT:
                self.await_code(server.supervisor_ended(pid, reason), _nothing)
            case _:
                self._notify("handle_info", message)

    def _is_command(self, command: Any) -> bool:
        match command:
            case Atom(name="which_handlers" | "get_modules" | "stop"):
                return True
            case (Atom(name="sync_notify"), _):
                return True
            case (Atom(name="call" | "add_handler" | "delete_handler"), _, _):
                return True
            case (Atom(name="add_sup_handler"), _, _, Pid()):
                return True
            case (Atom(name="swap_handler"), _, _, _, _):
                return True
            case (Atom(name="swap_sup_handler"), _, _, _, _, Pid()):
                return True
        return False

    def _notify(self, callback: str, message: Any) -> None:
        telling = self.server.notify(callback, message)
        if telling is not None:
            self.await_code(telling, _nothing)

    async def _answer(self, command: Any) -> Any:
        server = self.server
        match command:
            case Atom(name="which_handlers"):
                return server.which_handlers()
            case Atom(name="get_modules"):
                return list({one.module: None for one in server.installed})
            case (Atom(name="sync_notify"), event):
                telling = server.notify("handle_event", event)
                if telling is not None:
                    await telling
                return _OK
            case (Atom(name="call"), handler, request):
                return await server.call(handler, request)
            case (Atom(name="add_handler"), handler, args):
                return await server.add(handler, args, None)
            case (Atom(name="add_sup_handler"), handler, args, supervisor):
                return await server.add(handler, args, supervisor)
            case (Atom(name="delete_handler"), handler, args):
                return await server.delete(handler, args)
            case (Atom(name="swap_handler"), old, args, new, new_args):
                return await server.swap(old, args, new, new_args, None)
            case (Atom(name="swap_sup_handler"), old, args, new, new_args, supervisor):
                return await server.swap(old, args, new, new_args, supervisor)
        return _OK  # stop, see _reply

    def _reply(self, client: From, reply: Any) -> None:
        try:
            gen_reply(self, client, reply)
        except TermError as error:  # what a handler has returned is no term
            gen_reply(self, client, (_ERROR, repr(error)))

    # -- sys ---------------------------------------------------------------------------------------

    def change_code(self, module: Any, version: Any, extra: Any) -> Any:
        return self.server.code_change_of(module, version, extra)

    def status_facts(self, status: Atom, parent: Pid) -> list[tuple[str, Any]]:
        return [("Status", status), ("Logged Events", self.logged_events), ("Parent", parent)]

    def status_state(self, shown: Any) -> tuple[Any, Any]:
        """``{items, {"Installed handlers", [#handler{}]}}``."""
        states = shown if isinstance(shown, list) else []
        supervisors = [one.supervisor or False for one in self.server.installed]
        records = [
            (Atom("handler"), *state, supervisor)
            for state, supervisor in zip(states, supervisors, strict=False)
        ]
        return (Atom("items"), (charlist("Installed handlers"), records))


def _nothing(_: Any) -> None:
    """Nothing follows."""
