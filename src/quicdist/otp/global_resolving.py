"""Conflicts of names between two nodes that meet: who finds them, and what becomes of them.

OTP: ``global(3)``, ``register_name/3``. When two partitions meet, each side takes the names that it does
not have. For a name that both have with different processes, the node whose name is smaller calls the
resolver on the node of its own process; the other side takes the result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from quicdist.otp.global_steps import Apply, Sleep, Steps
from quicdist.otp.global_table import RegisteredName
from quicdist.term import Atom, Pid, exactly_equal

INSERT, DELETE = Atom("insert"), Atom("delete")
NONE = Atom("none")
#: Names that are compared before other work goes on.
_AT_ONCE = 1000

#: What is to be done with names, ``{insert, {Name, Pid, Method}}`` or ``{delete, Name}``.
Operations = list[tuple[Atom, Any]]


def exchange_names(
    names: Iterable[Any],
    find: Callable[[Any], RegisteredName | None],
    here: str,
    there: str,
    report: Callable[..., None],
) -> Steps[tuple[Operations, Operations]]:
    """Compare the names of another node, ``[{Name, Pid, Method}]``, with those that ``find`` finds. Returns
    what is to be done here, and what there."""
    ours: Operations = []
    theirs: Operations = []
    for number, entry in enumerate(names, start=1):
        if number % _AT_ONCE == 0:
            yield Sleep(0)
        match entry:
            case (name, Pid() as pid, method):
                pass
            case _:
                continue
        known = find(name)
        if known is None:
            ours.append((INSERT, (name, pid, method)))
        elif known.pid != pid and here < there:
            arguments = [known.method, name, pid, known.pid]
            chosen, error = yield Apply(known.pid.node.name, "global", "resolve_it", arguments)
            if error is not None:
                report("global: %s when the conflicting name %s was to be resolved", error, name)
                ours.append((INSERT, (name, pid, method)))
            elif chosen == pid:
                ours.append((INSERT, (name, pid, method)))
            elif chosen == known.pid:
                theirs.append((INSERT, (name, known.pid, known.method)))
            else:
                if not exactly_equal(chosen, NONE):
                    report("global: the resolver of the conflicting name %s returned %s", name, chosen)
                ours.append((DELETE, name))
                theirs.append((DELETE, name))
    return ours, theirs


def operations(terms: list[Any]) -> Operations:
    """The operations in a list from another node; other terms are left out."""
    found: Operations = []
    for operation in terms:
        match operation:
            case (Atom() as kind, (_, Pid(), _)) if kind == INSERT:
                found.append(operation)
            case (Atom() as kind, _) if kind == DELETE:
                found.append(operation)
    return found
