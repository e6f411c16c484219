"""Selective receive against a naive model of Erlang's, and against a BEAM."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quicdist import ANY, Atom, Reference, parse_term, term_to_binary
from quicdist.node.mailbox import Mailbox
from quicdist.node.patterns import AnyOf
from quicdist.term import exactly_equal
from tests.support.beam import Beam, erl_facts

A, B = Atom("a"), Atom("b")
#: What messages hold beside a number of their own, and what patterns ask for.
VALUES = [A, B, 1, 1.0, True, b"x", (A, 1), [A, 1.0]]


class Model:
    """Erlang's receive, as the Reference Manual tells it."""

    def __init__(self) -> None:
        self.priority: list[Any] = []
        self.ordinary: list[Any] = []

    def put(self, message: Any, priority: bool) -> None:
        (self.priority if priority else self.ordinary).append(message)

    def take(self, matches: Callable[[Any], bool]) -> Any:
        for queue in (self.priority, self.ordinary):
            for at, message in enumerate(queue):
                if matches(message):
                    return queue.pop(at)
        return None

    @property
    def messages(self) -> list[Any]:
        return self.priority + self.ordinary


class Run:
    """One run of operations on a mailbox and on the model."""

    def __init__(self) -> None:
        self.mailbox, self.model = Mailbox(), Model()
        self.references: list[Reference] = []
        self.made = 0

    def put(self, value: Any, priority: bool) -> None:
        self.made += 1
        message = (self.value(value), self.made)
        self.mailbox.put(message, priority=priority)
        self.model.put(message, priority)

    def value(self, value: Any) -> Any:
        """One of VALUES, or a reference made before where ``value`` is a number of one."""
        if not isinstance(value, str):
            return VALUES[value]
        return self.references[int(value) % len(self.references)] if self.references else A

    def pattern(self, kind: str, value: Any) -> tuple[Any, Callable[[Any], bool]]:
        """A pattern, and what it means."""
        wanted = self.value(value)
        same: Callable[[Any], bool] = lambda message: exactly_equal(message[0], wanted)  # noqa: E731
        return {
            "any": (None, lambda message: True),
            "value": ((wanted, ANY), same),
            "two": (AnyOf((wanted, ANY), (ANY, 3)), lambda message: same(message) or message[1] == 3),
            "class": ((type(wanted), ANY), lambda message: type(message[0]) is type(wanted)),
            "guard": ((wanted, lambda number: number % 2), lambda m: same(m) and m[1] % 2 == 1),
            "function": (same, same),
        }[kind]

    async def receive(self, pattern: Any) -> Any:
        try:
            return await self.mailbox.get(pattern, 0)
        except TimeoutError:
            return None

    async def operate(self, operation: tuple[Any, ...]) -> None:
        match operation:
            case ("put", value, priority):
                self.put(value, priority)
            case ("make_ref", expected):
                self.references.append(Reference("n@h", (len(self.references), 1, 1), 1))
                self.mailbox.mark(self.references[-1], expected)
            case ("ended", value) if self.references:
                self.mailbox.ended(self.value(value))
            case ("receive", kind, value):
                pattern, matches = self.pattern(kind, value)
                assert await self.receive(pattern) == self.model.take(matches)
            case ("discard", kind, value) if kind != "any":
                pattern, matches = self.pattern(kind, value)
                assert self.mailbox.discard(pattern) == (self.model.take(matches) is not None)
            case ("wait", kind, value, puts, called_off):
                pattern, matches = self.pattern(kind, value)
                task = asyncio.ensure_future(self.mailbox.get(pattern))
                await asyncio.sleep(0)
                if task.done():
                    assert task.result() == self.model.take(matches)
                for put in puts:
                    self.put(*put)
                if not task.done():
                    if called_off or not any(map(matches, self.model.messages)):
                        task.cancel()
                        await asyncio.gather(task, return_exceptions=True)
                    else:
                        # The first that came and matches, though one that goes first came later.
                        numbers = [message[1] for message in self.model.messages if matches(message)]
                        first = self.made + 1 if not numbers else min(numbers)
                        assert await task == self.model.take(lambda m: matches(m) and m[1] == first)
        assert list(self.mailbox) == self.model.messages
        assert len(self.mailbox) == len(self.model.messages)


VALUE = st.integers(0, len(VALUES) - 1) | st.integers(0, 5).map(str)
PUT = st.tuples(VALUE, st.sampled_from([False, False, False, True]))
KIND = st.sampled_from(["any", "value", "value", "two", "class", "guard", "function"])
OPERATION = st.one_of(
    PUT.map(lambda put: ("put", *put)),
    PUT.map(lambda put: ("put", *put)),
    st.tuples(st.just("make_ref"), st.sampled_from([1, 2, None])),
    st.tuples(st.just("ended"), st.integers(0, 5).map(str)),
    st.tuples(st.just("receive"), KIND, VALUE),
    st.tuples(st.just("discard"), KIND, VALUE),
    st.tuples(st.just("wait"), KIND, VALUE, st.lists(PUT, max_size=4), st.booleans()),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(OPERATION, max_size=60))
def test_any_receives_give_what_a_naive_model_gives(operations: list[tuple[Any, ...]]) -> None:
    async def run() -> None:
        under_test = Run()
        for operation in operations:
            await under_test.operate(operation)

    asyncio.run(run())


# -- a BEAM ------------------------------------------------------------------------------------

#: A process that does what it is told: a list of operations. Its answers are the numbers of the messages
#: received, and those left in the end.
_RECEIVER = r"""
-module(receiver).
-export([run/1]).
run(Operations) ->
  {Pid, Monitor} = spawn_monitor(fun() -> exit({done, do(Operations, [], prio(), [])}) end),
  receive {'DOWN', Monitor, _, Pid, {done, Answers}} -> Answers end.
prio() -> try alias([priority]) catch _:_ -> none end.
do([], _, _, Answers) ->
  {messages, Left} = process_info(self(), messages),
  {lists:reverse(Answers), [N || {_, N} <- Left]};
do([{put, V, N, false} | T], Refs, P, As) -> self() ! {value(V, Refs), N}, do(T, Refs, P, As);
do([{put, V, N, true} | T], Refs, P, As) ->
  erlang:send(P, {value(V, Refs), N}, [priority]),
  process_info(self(), message_queue_len),  % takes the message in: a receive may look at others first
  do(T, Refs, P, As);
do([make_ref | T], Refs, P, As) -> do(T, Refs ++ [make_ref()], P, As);
do([{'receive', V} | T], Refs, P, As) ->
  Wanted = value(V, Refs),
  do(T, Refs, P, [receive {X, N} when X =:= Wanted -> N after 0 -> none end | As]).
value({ref, N}, Refs) -> lists:nth(N, Refs);
value(V, _) -> V.
"""

_LOAD = """
(fun() ->
  Forms = fun F(Text) -> case erl_scan:tokens([], Text, 1) of
    {done, {ok, Tokens, _}, Rest} -> {ok, Form} = erl_parse:parse_form(Tokens), [Form | F(Rest)];
    _ -> [] end end,
  {ok, Module, Binary} = compile:forms(Forms(unicode:characters_to_list(Data))),
  {module, _} = code:load_binary(Module, "receiver", Binary)
end)()
"""


def scripts(priority: bool) -> list[list[tuple[Any, ...]]]:
    """Random operations: (put, value, number, priority), make_ref and (receive, value)."""
    choose = random.Random(7)
    made: list[list[tuple[Any, ...]]] = []
    for _ in range(150):
        script: list[tuple[Any, ...]] = []
        references = 0
        for number in range(40):
            simple = choose.choice([A, B, 1, b"x"])
            value = (Atom("ref"), choose.randint(1, references)) if references else simple
            value = choose.choice([simple, value])
            kind = choose.random()
            if kind < 0.15:
                references += 1
                script.append((Atom("make_ref"),))
            elif kind < 0.6:
                script.append((Atom("put"), value, number, priority and choose.random() < 0.2))
            else:
                script.append((Atom("receive"), value))
        made.append(script)
    return made


async def ours(script: list[tuple[Any, ...]]) -> Any:
    mailbox, references, answers = Mailbox(), list[Reference](), list[Any]()

    def value(given: Any) -> Any:
        return references[given[1] - 1] if isinstance(given, tuple) else given

    for what, *rest in script:
        if what.name == "make_ref":
            references.append(Reference("n@h", (len(references), 1, 1), 1))
            mailbox.mark(references[-1], None)
        elif what.name == "put":
            mailbox.put((value(rest[0]), rest[1]), priority=rest[2])
        else:
            try:
                answers.append((await mailbox.get((value(rest[0]), ANY), 0))[1])
            except TimeoutError:
                answers.append(Atom("none"))
    return answers, [number for _, number in mailbox]


@pytest.mark.beam
async def test_a_beam_receives_the_same_messages_in_the_same_order(beam: Beam) -> None:
    await beam.eval(_LOAD, _RECEIVER.encode())
    for script in scripts(priority=erl_facts()[0] >= 28):
        terms = [one[0] if len(one) == 1 else one for one in script]
        theirs = parse_term(await beam.eval("receiver:run(binary_to_term(Data))", term_to_binary(terms)))
        assert theirs == await ours(script)
