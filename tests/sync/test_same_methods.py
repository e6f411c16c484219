"""The classes of ``quicdist.sync`` have the methods of the asynchronous ones, with the same parameters."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

import quicdist
from quicdist import sync
from quicdist.carrier import UserStream
from quicdist.node import Cluster, ClusterEvents, Process
from quicdist.node.quic_dist import QuicDist
from quicdist.node.streams import StreamAcceptor
from quicdist.otp import Node, Request
from quicdist.otp.erpc import ErpcClient
from quicdist.otp.gen_event_client import GenEventClient
from quicdist.otp.gen_server_client import GenServerClient
from quicdist.otp.gen_statem_client import GenStatemClient
from quicdist.otp.global_names import GlobalNames
from quicdist.otp.io_client import IoClient
from quicdist.otp.net_kernel import NetKernel
from quicdist.otp.node_exports import NodeExports
from quicdist.otp.pg import ProcessGroups, Scope
from quicdist.otp.rpc import RpcClient
from quicdist.otp.sys_client import SysClient
from quicdist.otp.task_client import TaskSupervisorClient
from quicdist.sync import services

PAIRS: dict[type, type] = {
    Node: sync.Node,
    Process: sync.Process,
    Request: sync.Request,
    UserStream: sync.UserStream,
    StreamAcceptor: sync.StreamAcceptor,
    Cluster: sync.Cluster,
    ClusterEvents: sync.ClusterEvents,
    NodeExports: sync.Exports,
    ErpcClient: services.ErpcClient,
    RpcClient: services.RpcClient,
    GenServerClient: services.GenServerClient,
    GenStatemClient: services.GenStatemClient,
    GenEventClient: services.GenEventClient,
    TaskSupervisorClient: services.TaskSupervisorClient,
    NetKernel: services.NetKernel,
    GlobalNames: services.GlobalNames,
    IoClient: services.IoClient,
    ProcessGroups: services.ProcessGroups,
    Scope: services.Scope,
    SysClient: services.SysClient,
    QuicDist: services.QuicDist,
}

FOR_THE_NODE = "the node and its services use it, programs do not"

#: By asynchronous class: the names that its counterpart does not have, with the reason.
LEFT_OUT: dict[type, dict[str, str]] = {
    Process: {
        **dict.fromkeys(
            (
                *("body", "ended", "ends_while_connected", "end", "exit_begins", "handle", "handle_priority"),
                *("has_relations", "is_otp_process", "is_run_by", "is_supervisor", "mailbox", "monitored_by"),
                *("must_live", "new_reference", "on_end", "reference_ended", "relations", "run", "run_code"),
                *("runtime", "state", "task"),
            ),
            FOR_THE_NODE,
        ),
        "node": "the program has its node",
    },
    Request: dict.fromkeys(("succeed", "fail"), FOR_THE_NODE),
    UserStream: dict.fromkeys(
        ("consumed", "consumer", "data_received", "hand_over", "left", "lost", "reset_by_peer"),
        FOR_THE_NODE,
    ),
    StreamAcceptor: {"take": FOR_THE_NODE},
    Cluster: dict.fromkeys(("forked", "start", "stop"), FOR_THE_NODE),
    IoClient: {"writer": "a file that is written in the thread of the node; put_chars writes text"},
    Scope: {
        **dict.fromkeys((name for name in dir(quicdist.GenServer) if not name.startswith("_")), FOR_THE_NODE)
    },
    QuicDist: {
        **dict.fromkeys(
            (
                *("open_stream", "accept_streams", "stop_accepting", "send", "drain", "close_stream"),
                *("reset_stream", "controlling_process"),
            ),
            "streams whose data come as messages of a process; a thread reads node.open_stream",
        ),
        "over": FOR_THE_NODE,
    },
}

#: Parameters that differ, with the reason.
OTHER_PARAMETERS = {
    (Node, "export"): "plain functions run in threads",
    (NodeExports, "add"): "plain functions run in threads",
    (NodeExports, "add_namespace"): "plain functions run in threads",
    (GlobalNames, "trans"): "`process` is left out: the lock is the thread's",
    (TaskSupervisorClient, "async_link"): "`shutdown` is passed on",
}


def public_names(kind: type) -> set[str]:
    names = {name for name in dir(kind) if not name.startswith("_")}
    if kind is Node:
        names |= {"exports"}  # made with the node
    return names


@pytest.mark.parametrize("kind", PAIRS, ids=lambda kind: kind.__name__)
class TestEachClass:
    def test_each_public_name_is_there_or_left_out_for_a_reason(self, kind: type) -> None:
        left_out = LEFT_OUT.get(kind, {})
        missing = public_names(kind) - public_names(PAIRS[kind])
        assert missing == set(left_out)

    def test_each_method_has_the_same_parameters(self, kind: type) -> None:
        other: list[str] = []
        for name in public_names(kind) & public_names(PAIRS[kind]):
            method, blocking = getattr(kind, name, None), getattr(PAIRS[kind], name)
            if inspect.isfunction(method) and (kind, name) not in OTHER_PARAMETERS:
                assert inspect.isfunction(blocking)
                assert not inspect.iscoroutinefunction(blocking)
                if parameters(method) != parameters(blocking):
                    other.append(name)
        assert other == []


def parameters(function: Any) -> list[tuple[str, Any, Any]]:
    return [(each.name, each.kind, each.default) for each in inspect.signature(function).parameters.values()]


def test_a_node_has_the_options_of_the_asynchronous_one() -> None:
    assert parameters(sync.Node.__init__) == parameters(Node.__init__)


def test_a_node_has_one_method_more() -> None:
    assert public_names(sync.Node) - public_names(Node) == {"inner", "mailbox"}
