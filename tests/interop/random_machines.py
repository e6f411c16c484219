"""Random scripts for the state machine of :mod:`tests.interop.state_machine_erl`, as Erlang source."""

from __future__ import annotations

import random

STATES = ("a", "b", "c")
#: Time-outs that a script uses with zero seconds or with more.
SLOW = ("state_timeout", "{timeout, x}", "{timeout, y}")
#: Milliseconds of time-outs, each used once. No two sums of some of them are closer than 50, so that the
#: order in which they expire is certain.
TIMES = (50, 180, 410)
#: After this time no time-out is left.
QUIET = 2 * sum(TIMES)


class Script:
    """One script: a first state with its actions, what state enter calls do, and events."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._tags = 0
        # Time-outs that take time. OTP 25 gives the message of one as an ``info`` where one of the same
        # name and zero seconds was due, so no name is used for both.
        self._slow = [kind for kind in SLOW if self._random.random() < 0.5]
        # The machine starts before the events are there, so it starts no time-out that takes time.
        self._times: list[int] = []
        actions = self._actions(0, inserting=True)
        init = f"{{ok, first, {actions}, {self._enter()}}}"
        self._times += TIMES
        events = ", ".join(self._sent() for _ in range(self._random.randint(2, 7)))
        self.source = f"{{{init}, [{events}], {QUIET}}}"

    def _state(self) -> str:
        return self._random.choice(STATES)

    def _enter(self) -> str:
        entries = [
            f"{state} => {{keep, {self._actions(2, inserting=False)}}}"
            for state in STATES
            if self._random.random() < 0.4
        ]
        return f"#{{{', '.join(entries)}}}"

    def _sent(self) -> str:
        kind = self._random.choice(("cast", "cast", "info", "call"))
        return f"{{{kind}, {self._content(0, call=kind == 'call')}}}"

    def _content(self, depth: int, *, call: bool = False) -> str:
        self._tags += 1
        tag = f"t{self._tags}"
        steps = [self._step(depth, call=call, postponing=True)]
        if self._random.random() < 0.4:
            steps.append(self._step(depth, call=call, postponing=False))
        # At the last time it is not postponed, so that no event comes again without end.
        steps.append(f"{{keep, [{{reply, {tag}}}]}}" if call else "{keep, []}")
        return f"{{{tag}, [{', '.join(steps)}]}}"

    def _step(self, depth: int, *, call: bool, postponing: bool) -> str:
        actions = self._actions(depth, inserting=True)
        if postponing and self._random.random() < 0.4:
            actions = f"[postpone | {actions}]"
        elif call and self._random.random() < 0.7:
            actions = f"[{{reply, replied}} | {actions}]"
        choice = self._random.random()
        if choice < 0.5:
            return f"{{next, {self._state()}, {actions}}}"
        return f"{{{'repeat' if choice < 0.6 else 'keep'}, {actions}}}"

    def _actions(self, depth: int, *, inserting: bool) -> str:
        actions = []
        for _ in range(self._random.choice((0, 0, 1, 1, 2, 3))):
            choice = self._random.random()
            if choice < 0.3 and inserting and depth < 2:
                kind = self._random.choice(("internal", "cast", "info", "state_timeout", "timeout"))
                actions.append(f"{{next_event, {kind}, {self._content(depth + 1)}}}")
            elif depth < 3:
                actions.append(self._timeout(depth))
        return f"[{', '.join(actions)}]"

    def _timeout(self, depth: int) -> str:
        kind = self._random.choice(("timeout", *SLOW))
        choice = self._random.random()
        if choice < 0.12:
            return f"{{{kind}, cancel}}"
        slow = kind in self._slow or (kind == "timeout" and choice < 0.5)
        if slow and self._times:
            time = self._times.pop(self._random.randrange(len(self._times)))
            return f"{{{kind}, {time}, {self._content(depth + 1)}}}"
        if kind in self._slow:
            return "hibernate"
        if choice < 0.3:
            return f"{{{kind}, update, {self._content(depth + 1)}}}"
        return f"{{{kind}, 0, {self._content(depth + 1)}}}"
