"""Finds the part of a term that cannot be encoded, for the error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

from quicdist.term.etf.paths import join_path, key_step
from quicdist.term.maps import Map
from quicdist.term.values import ImproperList, Record


class Unencodable(Exception):
    """A term cannot be encoded; the text says why. Inside the encoder only: the path is found afterwards."""


def path_to_unencodable(term: Any, is_unencodable: Callable[[Any, bool], bool], max_depth: int) -> str:
    """The path to the first part of ``term`` that cannot be encoded, in the order of encoding.

    ``is_unencodable(part, inside)`` decides for one part without its own parts; ``inside`` is True for a
    part of another term.
    """
    steps: list[str] = [""]
    if is_unencodable(term, False):
        return join_path(steps)
    stack = [parts_of(term)]
    while stack:
        for step, part in stack[-1]:
            if is_unencodable(part, True):
                return join_path([*steps, step])
            if isinstance(part, _COMPOUND):
                if len(stack) == max_depth:
                    return join_path([*steps, step])
                steps.append(step)
                stack.append(parts_of(part))
                break
        else:
            stack.pop()
            steps.pop()
    return join_path(steps)


_COMPOUND = (tuple, list, dict, Map, ImproperList, Record)


def parts_of(term: Any) -> Iterator[tuple[str, Any]]:
    """The parts of a term, each with its step in a path."""
    if isinstance(term, (tuple, list)):
        return ((f"[{at}]", part) for at, part in enumerate(term))
    if isinstance(term, (dict, Map)):
        pairs = enumerate(term.items())
        steps = (((f"{{key {at}}}", key), (key_step(key, at), value)) for at, (key, value) in pairs)
        return chain.from_iterable(steps)
    if type(term) is ImproperList:
        elements = ((f".elements[{at}]", part) for at, part in enumerate(term.elements))
        return chain(elements, ((".tail", term.tail),))
    if type(term) is Record:
        return ((f"[{name.name!r}]", value) for name, value in term.fields.items())
    return iter(())
