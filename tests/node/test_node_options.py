"""The options of :class:`quicdist.Node`, and the places that list them too."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from quicdist import Node
from quicdist.node import node_options, option_types
from quicdist.otp import node as node_module

#: Options that the node reads itself.
READ_BY_NODE = {
    *("config", "vm_args", "cluster", "cluster_backoff", "connect_all", "prevent_overlapping_partitions"),
    *("none", "limits", "default", "tracer"),
}
#: Parameters of make_local_node that are made from these, or are the node itself.
MADE_BY_NODE = {"files", "owner", "services", "codec"}
#: Options that are checked where they are read.
CHECKED_WHERE_READ = {"name", "cookie", "config", "vm_args", "cluster", "none"}


def parameters(function: Any) -> dict[str, tuple[Any, Any]]:
    """Type and default of each parameter by name."""
    found = inspect.signature(function).parameters.values()
    return {each.name: (each.annotation, each.default) for each in found}


NODE = parameters(Node)
LOCAL_NODE = parameters(node_options.make_local_node)


class Seen(Exception):
    """The options have arrived; no node is made."""


def test_the_inner_node_has_each_option_with_the_same_type_and_default() -> None:
    shared = {name: of for name, of in NODE.items() if name not in READ_BY_NODE}
    assert {name: of for name, of in LOCAL_NODE.items() if name not in MADE_BY_NODE} == shared


def test_each_option_reaches_the_inner_node_under_its_own_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def seen(files: Any, *, owner: Any, services: Any, codec: Any, **options: Any) -> None:
        raise Seen(options)

    monkeypatch.setattr(node_module, "make_local_node", seen)
    monkeypatch.setattr(node_module, "check_option_types", lambda options: None)
    given = {name: object() for name in NODE if name not in READ_BY_NODE}
    with pytest.raises(Seen) as caught:
        Node(**given)  # type: ignore[arg-type]
    assert caught.value.args == (given,)


def test_the_type_of_each_option_is_checked_under_its_own_name(monkeypatch: pytest.MonkeyPatch) -> None:
    def seen(options: Any) -> None:
        raise Seen(options)

    monkeypatch.setattr(node_module, "check_option_types", seen)
    given = {name: object() for name in NODE}
    with pytest.raises(Seen) as caught:
        Node(**given)  # type: ignore[arg-type]
    assert caught.value.args == ({name: given[name] for name in NODE if name not in CHECKED_WHERE_READ},)
    assert option_types.CHECKS.keys() == caught.value.args[0].keys()
