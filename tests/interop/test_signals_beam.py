"""Every signal between a BEAM and our node, both ways: what comes of it is what comes of it between
two BEAMs.

A script makes two scripted processes, ``A`` where the signals under test are sent and ``B`` where they
arrive. It is run with ``A`` on a BEAM and ``B`` on our node and with the two changed, and each time
again with another BEAM in our place. The results must be the same, and the control messages that
the test is about must have crossed the wire. ``docs/reference/signals.md`` says which test proves which.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import pytest_asyncio

import quicdist.node.local_node
from quicdist import Atom, Node, Process, ProcessExit, current_call
from quicdist.carrier import MessageHandler
from quicdist.protocol import (
    DEFAULT_FLAGS,
    NO_PAYLOAD,
    ControlMessage,
    DistFlag,
    NodeLink,
    Op,
    SpawnRequest,
    SpawnRequestTT,
)
from tests.interop.carriers import CARRIERS
from tests.interop.conformance_pair import Beams, ConformancePair, conformance_pair, two_beams
from tests.interop.scripted_process import SCRIPTED_PROCESS_ERL, offer_scripted_processes
from tests.support.beam import erl_facts

NO_FLAG = DistFlag(0)

#: In every script: where the scripted processes are, and short names for what is done with them.
PROLOGUE = """
New = fun scripted:new/1, Do = fun scripted:do/2, Tell = fun scripted:tell/2, Sync = fun scripted:sync/2,
Until = fun scripted:until/1, A = New(AT_A), B = New(AT_B), NA = AT_A, NB = AT_B,
"""


@dataclass(frozen=True)
class Case:
    """A script, what it comes to, and the signals it is about: those A sends, and those that B
    sends back. ``without`` are capabilities our node does not offer; ``only`` a direction, where
    the other cannot be; ``since`` and ``until`` the OTP releases that send these signals.

    ``over_quic`` are the directions that can be told over QUIC where quic_dist itself keeps no
    such order: then there is no other BEAM to compare with."""

    script: str
    gives: str
    sent: tuple[Op, ...] = ()
    back: tuple[Op, ...] = ()
    without: DistFlag = NO_FLAG
    only: str | None = None
    since: int = 0
    until: int = 99
    over_quic: tuple[str, ...] | None = None


#: The processes that end are monitored by the one who asks, by way of its own BEAM.
LINKS = {
    "link": Case(
        "Do(B, {trap, true}), Do(A, {link, B}), Sync(A, B), Both = {Do(A, links) =:= [B], Do(B,"
        " links) =:= [A]},"
        "Tell(A, {leave, boom}), {'EXIT', A, Reason} = Do(B, take), {Both, Reason, Do(B, links)}",
        "{{true,true},boom,[]}",
        sent=(Op.LINK, Op.PAYLOAD_EXIT),
    ),
    "link, the other ends": Case(
        "Do(A, {trap, true}), Do(A, {link, B}), Sync(A, B), Tell(B, {leave, boom}),"
        "{'EXIT', B, Reason} = Do(A, take), {Reason, Do(A, links)}",
        "{boom,[]}",
        sent=(Op.LINK,),
        back=(Op.PAYLOAD_EXIT,),
    ),
    "link twice": Case(
        "Do(A, {link, B}), Do(B, {link, A}), Do(A, {link, B}), Sync(A, B), Sync(B, A),"
        "{Do(A, links) =:= [B], Do(B, links) =:= [A]}",
        "{true,true}",
        sent=(Op.LINK,),
    ),
    "link with nobody": Case(
        "Dead = New(NB), M = monitor(process, Dead), Tell(Dead, {leave, normal}),"
        "receive {'DOWN', M, _, _, _} -> ok end,"
        "Do(A, {trap, true}), Do(A, {link, Dead}), {'EXIT', Dead, Reason} = Do(A, take), {Reason, Do(A,"
        " links)}",
        "{noproc,[]}",
        sent=(Op.LINK,),
        back=(Op.PAYLOAD_EXIT,),
    ),
    "link, an end that is not trapped": Case(
        "M = monitor(process, B), Do(A, {link, B}), Sync(A, B), Tell(A, {leave, {boom, 1}}),"
        "receive {'DOWN', M, _, _, Reason} -> Reason end",
        "{boom,1}",
        sent=(Op.LINK, Op.PAYLOAD_EXIT),
    ),
    "link, a normal end": Case(
        "Do(A, {link, B}), Sync(A, B), Tell(A, {leave, normal}),"
        "Until(fun() -> Do(B, links) =:= [] end), is_pid(B)",
        "true",
        sent=(Op.PAYLOAD_EXIT,),
    ),
    "link, an end by kill": Case(
        # By a link it is a reason like any other: it is trapped, and not turned into killed.
        "C = New(NB), M = monitor(process, C), Do(B, {trap, true}), Do(A, {link, B}), Do(A, {link, C}),"
        "Sync(A, B), Sync(A, C), Tell(A, {leave, kill}), {'EXIT', A, R1} = Do(B, take),"
        "{R1, receive {'DOWN', M, _, _, R2} -> R2 end}",
        "{kill,kill}",
        sent=(Op.PAYLOAD_EXIT,),
    ),
    "link, killed": Case(
        "Do(B, {trap, true}), Do(A, {link, B}), Sync(A, B), exit(A, kill), {'EXIT', A, Reason} = Do(B,"
        " take), Reason",
        "killed",
        sent=(Op.PAYLOAD_EXIT,),
    ),
    "link, EXIT without payload": Case(
        "Do(B, {trap, true}), Do(A, {link, B}), Sync(A, B), Tell(A, {leave, {boom, 2}}),"
        "{'EXIT', A, Reason} = Do(B, take), Reason",
        "{boom,2}",
        sent=(Op.EXIT,),
        without=DistFlag.EXIT_PAYLOAD,
    ),
    "unlink": Case(
        "Do(A, {link, B}), Sync(A, B), Do(A, {unlink, B}), Sync(A, B), Sync(B, A),"
        "Links = {Do(A, links), Do(B, links)}, M = monitor(process, A), Tell(A, {leave, boom}),"
        "receive {'DOWN', M, _, _, _} -> ok end, {Links, Do(B, drain)}",
        "{{[],[]},[]}",
        sent=(Op.UNLINK_ID,),
        back=(Op.UNLINK_ID_ACK,),
    ),
    "unlink by the other": Case(
        "Do(A, {link, B}), Sync(A, B), Do(B, {unlink, A}), Sync(B, A), {Do(A, links), Do(B, links)}",
        "{[],[]}",
        sent=(Op.UNLINK_ID_ACK,),
        back=(Op.UNLINK_ID,),
    ),
    "unlink and link again": Case(
        "Do(A, {all, [{link, B}, {unlink, B}, {link, B}, {unlink, B}, {link, B}]}), Sync(A, B), Sync(B, A),"
        "{Do(A, links) =:= [B], Do(B, links) =:= [A]}",
        "{true,true}",
        sent=(Op.LINK, Op.UNLINK_ID),
        back=(Op.UNLINK_ID_ACK,),
    ),
    "UNLINK": Case(
        "Do(A, {link, B}), Sync(A, B), Do(A, {unlink, B}), Sync(A, B), {Do(A, links), Do(B, links)}",
        "{[],[]}",
        sent=(Op.UNLINK,),
        without=DistFlag.UNLINK_ID,
        only="in",
        until=25,
    ),
}

EXITS = {
    "exit/2": Case(
        "M = monitor(process, B), Do(A, {exit, B, {boom, 1}}), receive {'DOWN', M, _, _,"
        " Reason} -> Reason end",
        "{boom,1}",
        sent=(Op.PAYLOAD_EXIT2,),
    ),
    "exit/2, trapped": Case(
        "Do(B, {trap, true}), Do(A, {all, [{exit, B, boom}, {exit, B, normal}]}),"
        "[{'EXIT', A, R1}, {'EXIT', A, R2}] = Do(B, {all, [take, take]}), {R1, R2}",
        "{boom,normal}",
        sent=(Op.PAYLOAD_EXIT2,),
    ),
    "exit/2, normal": Case(
        "Do(A, {exit, B, normal}), Sync(A, B), Do(B, drain)", "[]", sent=(Op.PAYLOAD_EXIT2,)
    ),
    "exit/2, kill": Case(
        "M = monitor(process, B), Do(B, {trap, true}), Do(A, {exit, B, kill}),"
        "receive {'DOWN', M, _, _, Reason} -> Reason end",
        "killed",
        sent=(Op.PAYLOAD_EXIT2,),
    ),
    "exit/2, to nobody": Case(
        "M = monitor(process, B), Tell(B, {leave, normal}), receive {'DOWN', M, _, _, _} -> ok end,"
        "Do(A, {all, [{exit, B, boom}, {exit, B, kill}]}), Do(A, drain)",
        "[]",
        sent=(Op.PAYLOAD_EXIT2,),
    ),
    "exit/2, to oneself": Case(
        # No wire is crossed: that a Python process does as an Erlang one.
        "[begin P = New(NB), M = monitor(process, P), [Do(P, {trap, true}) || Trap], Tell(P, {exit, P, R}),"
        " receive {'DOWN', M, _, _, Why} -> Why after 0 ->"
        "   case Do(P, drain) of [] -> Do(P, drain), receive {'DOWN', M, _, _,"
        " Why} -> Why after 0 -> lives end;"
        "     [{'EXIT', P, Got}] -> {got, Got} end end end"
        " || {Trap, R} <- [{true, normal}, {true, boom}]]",
        "[{got,normal},{got,boom}]",
    ),
    "exit/2, to oneself, not trapped": Case(
        "[begin P = New(NB), M = monitor(process, P), [Do(P, {trap, true}) || R =:= kill], Tell(P, {exit,"
        " P, R}),"
        " receive {'DOWN', M, _, _, Why} -> Why end end || R <- [normal, boom, kill]]",
        "[normal,boom,killed]",
    ),
    "exit/2 without payload": Case(
        "M = monitor(process, B), Do(A, {exit, B, {boom, 2}}), receive {'DOWN', M, _, _,"
        " Reason} -> Reason end",
        "{boom,2}",
        sent=(Op.EXIT2,),
        without=DistFlag.EXIT_PAYLOAD,
    ),
    "exit/2, a reason in fragments": Case(
        "Do(B, {trap, true}), Big = binary:copy(<<7>>, 300000), Do(A, {exit, B, {big, Big}}),"
        "Do(B, take) =:= {'EXIT', A, {big, Big}}",
        "true",
        sent=(Op.PAYLOAD_EXIT2,),
    ),
}

MONITORS = {
    "monitor by pid": Case(
        "Ref = Do(A, {monitor, B}), Sync(A, B), Seen = {Do(A, monitors), Do(B, monitored_by) -- [self()]},"
        "Tell(B, {leave, boom}), {'DOWN', Ref, process, B, Reason} = Do(A, take),"
        "{Seen =:= {1, [A]}, Reason, Do(A, monitors)}",
        "{true,boom,0}",
        sent=(Op.MONITOR_P,),
        back=(Op.PAYLOAD_MONITOR_P_EXIT,),
    ),
    "monitor by name": Case(
        "Do(B, {register, by_name}), Ref = Do(A, {monitor, {by_name, NB}}),"
        "Until(fun() -> Do(B, monitored_by) =:= [A] end), Tell(B, {leave, boom}),"
        "{'DOWN', Ref, process, {by_name, NB}, Reason} = Do(A, take), {Reason, Do(A, monitors)}",
        "{boom,0}",
        sent=(Op.MONITOR_P,),
        back=(Op.PAYLOAD_MONITOR_P_EXIT,),
    ),
    "monitor nobody": Case(
        "M = monitor(process, B), Tell(B, {leave, normal}), receive {'DOWN', M, _, _, _} -> ok end,"
        "R1 = Do(A, {monitor, B}), {'DOWN', R1, process, B, Why1} = Do(A, take),"
        "R2 = Do(A, {monitor, {nobody, NB}}), {'DOWN', R2, process, {nobody, NB}, Why2} = Do(A, take),"
        " {Why1, Why2}",
        "{noproc,noproc}",
        sent=(Op.MONITOR_P,),
        back=(Op.PAYLOAD_MONITOR_P_EXIT,),
    ),
    "monitor twice": Case(
        "[R1, R2] = Do(A, {all, [{monitor, B}, {monitor, B}]}), Tell(B, {leave, boom}),"
        "lists:sort([R || {'DOWN', R, process, _, boom} <- Do(A, {all, [take, take]})]) =:= lists:sort([R1,"
        " R2])",
        "true",
        sent=(Op.MONITOR_P,),
    ),
    "monitor with a tag": Case(
        "Ref = Do(A, {monitor, B, [{tag, {gone, 1}}]}), Tell(B, {leave, boom}),"
        "{{gone, 1}, Ref, process, B, Reason} = Do(A, take), Reason",
        "boom",
        sent=(Op.MONITOR_P,),
    ),
    "demonitor": Case(
        "Ref = Do(A, {monitor, B}), Sync(A, B), First = Do(A, {demonitor, Ref}), Sync(A, B),"
        "By = Do(B, monitored_by), M = monitor(process, B), Tell(B, {leave, boom}),"
        "receive {'DOWN', M, _, _, _} -> ok end, {First, By, Do(A, {demonitor, Ref}), Do(A, drain)}",
        "{true,[],false,[]}",
        sent=(Op.MONITOR_P, Op.DEMONITOR_P),
    ),
    "demonitor by a name that has moved on": Case(
        "C = New(NB), Do(B, {register, moves}), Ref = Do(A, {monitor, {moves, NB}}),"
        "Until(fun() -> Do(B, monitored_by) =:= [A] end), Do(B, {unregister, moves}), Do(C, {register,"
        " moves}),"
        "Do(A, {demonitor, Ref}), Until(fun() -> Do(B, monitored_by) =:= [] end)",
        "true",
        sent=(Op.DEMONITOR_P,),
    ),
    "demonitor with flush": Case(
        "M = monitor(process, B), Tell(B, {leave, normal}), receive {'DOWN', M, _, _, _} -> ok end,"
        "[R1, R2, _] = Do(A, {all, [{monitor, B}, {monitor, B}, {monitor, B, [{tag, last}]}]}),"
        "Do(A, {take, last}), Found = Do(A, {demonitor, R1, flush}), [{'DOWN', R2, _, _, noproc}] = Do(A,"
        " drain),"
        "Found",
        "false",
        sent=(Op.MONITOR_P,),
        # The three answers take one stream from a BEAM and from us.
    ),
    "a watcher that ends": Case(
        "Do(A, {monitor, B}), Sync(A, B), Tell(A, {leave, boom}),"
        "Until(fun() -> Do(B, monitored_by) =:= [] end)",
        "true",
        sent=(Op.MONITOR_P, Op.DEMONITOR_P),
    ),
    "MONITOR_P_EXIT without payload": Case(
        "Ref = Do(A, {monitor, B}), Tell(B, {leave, {boom, 2}}), {'DOWN', Ref, process, B, Reason} = Do(A,"
        " take), Reason",
        "{boom,2}",
        back=(Op.MONITOR_P_EXIT,),
        without=DistFlag.EXIT_PAYLOAD,
    ),
}

#: What a message by an alias is sent as, from OTP 28 on and before.
_BY_ALIAS = (Op.ALIAS_SEND,)

ALIASES = {
    "alias": Case(
        "Alias = Do(B, alias), Do(A, {send, Alias, {one, 1}}), One = Do(B, take), Was = Do(B, {unalias,"
        " Alias}),"
        "Do(A, {send, Alias, {two, 2}}), Sync(A, B), {One, Was, Do(B, {unalias, Alias}), Do(B, drain)}",
        "{{one,1},true,false,[]}",
    ),
    "alias, ALIAS_SEND": Case(
        "Alias = Do(B, alias), Do(A, {send, Alias, {one, 1}}), Do(B, take)",
        "{one,1}",
        sent=(Op.ALIAS_SEND,),
        without=DistFlag.ALTACT_SIG,
    ),
    "alias, ALTACT_SIG_SEND": Case(
        "Alias = Do(B, alias), Do(A, {send, Alias, {one, 1}}), Do(B, take)",
        "{one,1}",
        sent=(Op.ALTACT_SIG_SEND,),
        since=28,
    ),
    "alias for one reply": Case(
        "Alias = Do(B, {alias, [reply]}), Do(A, {send, Alias, {one, 1}}), Do(A, {send, Alias, {two, 2}}),"
        "One = Do(B, take), Sync(A, B), {One, Do(B, {unalias, Alias}), Do(B, drain)}",
        "{{one,1},false,[]}",
    ),
    "monitor with an alias, reply_demonitor": Case(
        "Ref = Do(B, {monitor, A, [{alias, reply_demonitor}]}), Sync(B, A), Do(A, {send, Ref, {one, 1}}),"
        "Do(A, {send, Ref, {two, 2}}), One = Do(B, take), Sync(A, B), Sync(B, A),"
        "{One, Do(B, monitors), Do(B, {unalias, Ref}), Do(A, monitored_by), Do(B, drain)}",
        "{{one,1},0,false,[],[]}",
        back=(Op.MONITOR_P, Op.DEMONITOR_P),
    ),
    "monitor with an alias, demonitor": Case(
        "Ref = Do(B, {monitor, A, [{alias, demonitor}]}), Do(A, {send, Ref, {one, 1}}),"
        "Do(A, {send, Ref, {two, 2}}), Got = Do(B, {all, [take, take]}), Was = Do(B, {demonitor, Ref}),"
        "Do(A, {send, Ref, {three, 3}}), Sync(A, B), {Got, Was, Do(B, {unalias, Ref}), Do(B, drain)}",
        "{[{one,1},{two,2}],true,false,[]}",
    ),
    "monitor with an alias, explicit_unalias": Case(
        "Ref = Do(B, {monitor, A, [{alias, explicit_unalias}]}), Do(A, {send, Ref, {one, 1}}), One = Do(B,"
        " take),"
        "Was = Do(B, {demonitor, Ref}), Do(A, {send, Ref, {two, 2}}), Two = Do(B, take),"
        "{One, Was, Two, Do(B, {unalias, Ref}), Do(B, {unalias, Ref})}",
        "{{one,1},true,{two,2},true,false}",
    ),
    "monitor with an alias that fires": Case(
        "[begin C = New(NA), Ref = Do(B, {monitor, C, [{alias, Kind}]}), Tell(C, {leave, boom}),"
        " {'DOWN', Ref, process, C, boom} = Do(B, take), Do(B, {unalias, Ref}) end"
        " || Kind <- [explicit_unalias, demonitor, reply_demonitor]]",
        "[true,false,false]",
    ),
    "alias of a process that ended": Case(
        "Alias = Do(B, alias), M = monitor(process, B), Tell(B, {leave, normal}),"
        "receive {'DOWN', M, _, _, _} -> ok end, Do(A, {send, Alias, {one, 1}}), Do(A, drain)",
        "[]",
    ),
}

MESSAGES = {
    "send to a pid": Case("Do(A, {send, B, {m, 1}}), Do(B, take)", "{m,1}", sent=(Op.SEND_SENDER,)),
    "send to a name": Case(
        "Do(B, {register, named}), Do(A, {send, {named, NB}, {m, 1}}), Do(B, take)",
        "{m,1}",
        sent=(Op.REG_SEND,),
    ),
    "send, SEND": Case(
        "Do(A, {send, B, {m, 1}}), Do(B, take)", "{m,1}", sent=(Op.SEND,), without=DistFlag.SEND_SENDER
    ),
    "send to nobody": Case(
        "M = monitor(process, B), Tell(B, {leave, normal}), receive {'DOWN', M, _, _, _} -> ok end,"
        "{Do(A, {send, B, {m, 1}}), Do(A, {send, {nobody, NB}, {m, 1}}), Do(A, drain)}",
        "{sent,sent,[]}",
        sent=(Op.SEND_SENDER, Op.REG_SEND),
    ),
    "send in fragments": Case(
        "Big = binary:copy(<<7>>, 500000), Do(A, {send, B, {big, Big}}), Do(A, {send, B, {small, 1}}),"
        "[First, Second] = Do(B, {all, [take, take]}), {First =:= {big, Big}, Second}",
        "{true,{small,1}}",
        sent=(Op.SEND_SENDER,),
    ),
    "group leader": Case(
        "Do(A, {group_leader, A, B}), Sync(A, B), Do(B, group_leader) =:= A",
        "true",
        sent=(Op.GROUP_LEADER,),
    ),
}

SPAWNS = {
    "spawn": Case(
        "Pid = Do(A, {spawn, NB, child, [A]}), {child, Pid} = Do(A, take), {node(Pid) =:= NB, Do(Pid,"
        " links)}",
        "{true,[]}",
        sent=(Op.SPAWN_REQUEST,),
        back=(Op.SPAWN_REPLY,),
    ),
    "spawn_link": Case(
        "Do(A, {trap, true}), Pid = Do(A, {spawn_link, NB, child, [A]}), {child, Pid} = Do(A, take),"
        "Links = {Do(Pid, links) =:= [A], lists:member(Pid, Do(A, links))}, Tell(Pid, {leave, boom}),"
        "{'EXIT', Pid, Reason} = Do(A, take), {Links, Reason}",
        "{{true,true},boom}",
        sent=(Op.SPAWN_REQUEST,),
        back=(Op.SPAWN_REPLY, Op.PAYLOAD_EXIT),
    ),
    "spawn_link, the parent ends": Case(
        "Pid = Do(A, {spawn_link, NB, trapper, [self()]}), receive {child, Pid} -> ok end,"
        "Tell(A, {leave, boom}), {'EXIT', A, Reason} = Do(Pid, take), Reason",
        "boom",
        sent=(Op.SPAWN_REQUEST, Op.PAYLOAD_EXIT),
    ),
    "spawn_monitor": Case(
        "{Pid, Ref} = Do(A, {spawn_monitor, NB, child, [A]}), {child, Pid} = Do(A, take),"
        "By = Do(Pid, monitored_by) =:= [A], Tell(Pid, {leave, boom}),"
        "{'DOWN', Ref, process, Pid, Reason} = Do(A, take), {By, Reason}",
        "{true,boom}",
        sent=(Op.SPAWN_REQUEST,),
        back=(Op.SPAWN_REPLY, Op.PAYLOAD_MONITOR_P_EXIT),
    ),
    "spawn_monitor and demonitor": Case(
        "{Pid, Ref} = Do(A, {spawn_monitor, NB, child, [A]}), {child, Pid} = Do(A, take),"
        "Was = Do(A, {demonitor, Ref}), Sync(A, Pid), {Was, Do(Pid, monitored_by)}",
        "{true,[]}",
        sent=(Op.DEMONITOR_P,),
    ),
    "spawn of what ends at once": Case(
        # Its end may come on another stream than the reply that says it began.
        "Do(A, {trap, true}), [begin Ref = Do(A, {spawn_request, NB, ends, [{boom, N}], [link, monitor]}),"
        " {spawn_reply, Ref, ok, Pid} = Do(A, take),"
        " lists:sort(Do(A, {all, [take, take]})) =:="
        "   lists:sort([{'EXIT', Pid, {boom, N}}, {'DOWN', Ref, process, Pid, {boom, N}}]) end"
        " || N <- lists:seq(1, 20)] =:= lists:duplicate(20, true)",
        "true",
        sent=(Op.SPAWN_REQUEST,),
        back=(Op.SPAWN_REPLY, Op.PAYLOAD_EXIT, Op.PAYLOAD_MONITOR_P_EXIT),
        over_quic=("in", "out"),
    ),
    "spawn of what is not there": Case(
        "{Pid, Ref} = Do(A, {spawn_monitor, NB, no_such_function, [1]}),"
        "{'DOWN', Ref, process, Pid, Reason} = Do(A, take), Reason",
        "{undef,[{scripted,no_such_function,[1],[]}]}",
        sent=(Op.SPAWN_REQUEST,),
    ),
    "spawn of what crashes": Case(
        "{Pid, Ref} = Do(A, {spawn_monitor, NB, crashes, []}),"
        "{'DOWN', Ref, process, Pid, {_, [{_, F, _, [{file, _} | _]} | _]}} = Do(A, take), is_atom(F)",
        "true",
        sent=(Op.SPAWN_REQUEST,),
    ),
    "spawn, the group leader": Case(
        "Do(A, {spawn, NB, leader, [A]}), {leader, Leader} = Do(A, take), Leader =:= Do(A, group_leader)",
        "true",
        sent=(Op.SPAWN_REQUEST,),
    ),
    "spawn_request": Case(
        "Ref = Do(A, {spawn_request, NB, child, [A], [{reply_tag, began}, {priority, high}]}),"
        "{began, Ref, ok, Pid} = Do(A, {take, began}), {child, Pid} = Do(A, take), node(Pid) =:= NB",
        "true",
        sent=(Op.SPAWN_REQUEST,),
    ),
    "spawn_request, which replies": Case(
        "[begin Do(A, {spawn_request, NB, child, [A], [{reply, Reply} | Opts]}),"
        " case {Opts, Reply} of"
        "   {[], yes} -> {spawn_reply, _, Is, _} = Do(A, {take, spawn_reply}), {child, _} = Do(A, take), Is;"
        "   {[], success_only} -> {spawn_reply, _, Is, _} = Do(A, {take, spawn_reply}), {child, _} = Do(A,"
        " take), Is;"
        "   {[], _} -> {child, _} = Do(A, take), Do(A, drain);"
        "   {_, R} when R =:= yes; R =:= error_only -> {spawn_reply, _, Is, Why} = Do(A, take), {Is, Why};"
        # Another request, whose answer comes behind: nothing came for this one.
        "   _ -> Do(A, {spawn_request, NB, child, [A], [{reply_tag, last}, nonsense]}), Do(A, {take,"
        " last}), Do(A, drain)"
        " end end || Opts <- [[], [nonsense]], Reply <- [yes, no, error_only, success_only]]",
        "[ok,[],[],ok,{error,badopt},[],{error,badopt},[]]",
        sent=(Op.SPAWN_REQUEST,),
        back=(Op.SPAWN_REPLY,),
    ),
    "spawn_request, monitored with alias and tag": Case(
        "Ref = Do(A, {spawn_request, NB, child, [A], [{monitor, [{alias, reply_demonitor}, {tag, gone}]}]}),"
        "{spawn_reply, Ref, ok, Pid} = Do(A, {take, spawn_reply}), {child, Pid} = Do(A, take),"
        "Do(Pid, {send, Ref, {one, 1}}), One = Do(A, take), Sync(A, Pid), By = Do(Pid, monitored_by),"
        "R2 = Do(A, {spawn_request, NB, ends, [boom], [{monitor, [{tag, gone}]}]}),"
        "{spawn_reply, R2, ok, P2} = Do(A, {take, spawn_reply}), {gone, R2, process, P2, Why} = Do(A, take),"
        "{One, By, Why}",
        "{{one,1},[],boom}",
        sent=(Op.SPAWN_REQUEST, Op.DEMONITOR_P),
    ),
    "spawn_request, abandoned": Case(
        # The child may be ended before it traps exits, and then says nothing.
        "Try = fun F() -> Was = Do(A, {spawn_abandon, NB, trapper, [self()], [link, monitor]}),"
        "  receive {child, P} -> {Was, P} after 300 -> F() end end, {Was, Child} = Try(),"
        # A BEAM leaves the monitor in place, whose message nobody would want; we take it back.
        "{'EXIT', A, Reason} = Do(Child, take),"
        "{Was, Reason, Do(Child, links), Do(A, drain)}",
        "{[true,false],abandoned,[],[]}",
        sent=(Op.SPAWN_REQUEST, Op.PAYLOAD_EXIT),
    ),
    "spawn_request, the parent has ended": Case(
        "Try = fun F() -> P = New(NA), Tell(P, {spawn_leave, NB, trapper, [self()], [link], {gone, 1}}),"
        "  receive {child, C} -> {P, C} after 300 -> F() end end, {Parent, Child} = Try(),"
        "{'EXIT', Parent, Reason} = Do(Child, take), {Reason, Do(Child, links)}",
        "{{gone,1},[]}",
        sent=(Op.SPAWN_REQUEST,),
    ),
    "spawn_request on a node that is not there": Case(
        "Ref = Do(A, {spawn_request, 'nobody@127.0.0.1', child, [A], [link, monitor]}),"
        "{spawn_reply, Ref, error, Reason} = Do(A, take), {Reason, Do(A, monitors), Do(A, links), Do(A,"
        " drain)}",
        "{noconnection,0,[],[]}",
    ),
}

#: The options of ``spawn_opt/5`` and a few that are none, by the release that first has them.
SPAWN_OPTIONS = {
    25: "[link, link], [monitor, link], [{monitor, []}], [{monitor, foo}], [{monitor, [foo]}], [nonsense],"
    "[1], [{nonsense, 1}], [{link, true}], [{a, b, c}], [[]], [{priority, max}], [{priority, foo}],"
    "[priority], [{fullsweep_after, 10}], [{fullsweep_after, x}], [{min_heap_size, 100}],"
    "[{min_heap_size, -1}], [{min_bin_vheap_size, 100}], [{max_heap_size, 1000}], [{max_heap_size, 10}],"
    "[{max_heap_size, 0}], [{max_heap_size, #{size => 100000, kill => true}}],"
    "[{max_heap_size, #{kill => true}}], [{message_queue_data, off_heap}],"
    "[{message_queue_data, x}], [{scheduler, 1}], [{scheduler, 1000}],"
    "[async_dist]",
    26: "[{async_dist, true}], [{async_dist, x}]",
    28: "[{link, []}], [{link, [priority]}], [{link, [x]}], [{monitor, [priority]}]",
}

ORDER = {
    "order of messages, links and monitors": Case(
        "Do(A, {burst, B, 300}), Got = Do(B, {all, lists:duplicate(300, take)}), Sync(A, B), Sync(B, A),"
        "{Got =:= [{n, N} || N <- lists:seq(1, 300)], Do(A, links), Do(B, links), Do(B, monitored_by)}",
        "{true,[],[],[]}",
        sent=(Op.SEND_SENDER, Op.LINK, Op.UNLINK_ID, Op.MONITOR_P, Op.DEMONITOR_P),
    ),
    "order of messages and exit/2": Case(
        "Do(B, {trap, true}), Do(A, {all, [{send, B, {n, N}} || N <- lists:seq(1, 50)] ++ [{exit, B, boom}]"
        " ++ [{send, B, {n, N}} || N <- lists:seq(51, 100)]}),"
        "Do(B, {all, lists:duplicate(101, take)}) =:= [{n, N} || N <- lists:seq(1, 50)] ++ [{'EXIT', A,"
        " boom}]"
        " ++ [{n, N} || N <- lists:seq(51, 100)]",
        "true",
        sent=(Op.SEND_SENDER, Op.PAYLOAD_EXIT2),
    ),
    "order of messages and the end of a link": Case(
        "Do(B, {trap, true}), Do(A, {link, B}), Sync(A, B),"
        "Tell(A, {all, [{send, B, {n, N}} || N <- lists:seq(1, 50)] ++ [{leave, boom}]}),"
        "Do(B, {all, lists:duplicate(51, take)}) =:= [{n, N} || N <- lists:seq(1, 50)] ++ [{'EXIT', A,"
        " boom}]",
        "true",
        sent=(Op.SEND_SENDER, Op.PAYLOAD_EXIT),
    ),
    "order of messages and the end of what is monitored": Case(
        "Ref = Do(B, {monitor, A}), Sync(B, A),"
        "Tell(A, {all, [{send, B, {n, N}} || N <- lists:seq(1, 50)] ++ [{leave, boom}]}),"
        "Do(B, {all, lists:duplicate(51, take)}) =:= [{n, N} || N <- lists:seq(1, 50)]"
        " ++ [{'DOWN', Ref, process, A, boom}]",
        "true",
        sent=(Op.SEND_SENDER, Op.PAYLOAD_MONITOR_P_EXIT),
    ),
    "order of messages and the end of what is monitored by name": Case(
        "Do(A, {register, ordered}), Ref = Do(B, {monitor, {ordered, NA}}), "
        "Until(fun() -> Do(A, monitored_by) =:= [B] end),"
        "Tell(A, {all, [{send, B, {n, N}} || N <- lists:seq(1, 50)] ++ [{leave, boom}]}),"
        "Do(B, {all, lists:duplicate(51, take)}) =:= [{n, N} || N <- lists:seq(1, 50)]"
        " ++ [{'DOWN', Ref, process, {ordered, NA}, boom}]",
        "true",
        sent=(Op.SEND_SENDER, Op.PAYLOAD_MONITOR_P_EXIT),
        over_quic=("out",),
    ),
    "a child's beginning comes before what it does": Case(
        "[begin Ref = Do(A, {spawn_request, NB, child, [A], []}),"
        " [{spawn_reply, Ref, ok, Pid}, {child, Pid}] = Do(A, {all, [take, take]}), node(Pid) =:= NB end"
        " || _ <- lists:seq(1, 20)] =:= lists:duplicate(20, true)",
        "true",
        sent=(Op.SPAWN_REQUEST,),
        back=(Op.SPAWN_REPLY, Op.SEND_SENDER),
        over_quic=("in",),
    ),
}

PRIORITY = {
    "priority messages": Case(
        "P = Do(B, {alias, [priority]}), O = Do(B, alias),"
        "Do(A, {all, [{send, B, {x, 1}}, {send, B, {x, 2}}, {send_priority, O, {o, 1}}, {send, O, {last, 1}},"
        " {send_priority, P, {p, 1}}, {send_priority, P, {p, 2}}, {send, P, {last, 2}}, {send, B, {last,"
        " 3}}]}),"
        "Do(B, {all, [{take, last}, {take, last}, {take, last}]}),"
        "[{p, 1}, {p, 2} | Rest] = Do(B, drain), lists:sort(Rest)",
        "[{o,1},{x,1},{x,2}]",
        sent=(Op.ALTACT_SIG_SEND,),
        since=28,
    ),
    "priority exit signals": Case(
        "Do(B, {trap, true}), P = Do(B, {alias, [priority]}), O = Do(B, alias),"
        "Do(A, {all, [{send, B, {x, 1}}, {exit_priority, P, boom}, {send, P, {last, 1}}, {send, B, {last,"
        " 2}}]}),"
        "Do(B, {all, [{take, last}, {take, last}]}), First = Do(B, drain),"
        "Do(A, {exit_priority, O, bang}), {'EXIT', A, Second} = Do(B, take),"
        "{First =:= [{'EXIT', A, boom}, {x, 1}], Second}",
        "{true,bang}",
        sent=(Op.ALTACT_SIG_SEND,),
        since=28,
    ),
    "priority links and monitors": Case(
        "Do(B, {trap, true}), Do(B, {alias, [priority]}), C = New(NA), Do(B, {link_priority, A}),"
        "Ref = Do(B, {monitor, C, [priority]}), Sync(B, A), Sync(B, C), Sync(A, B), Sync(C, B),"
        "D = New(NA), Do(D, {send, B, {x, 1}}), Sync(D, B),"
        "Tell(A, {leave, boom}), Tell(C, {leave, bang}),"
        "First = Do(B, {take, 'EXIT'}), Second = Do(B, {take, 'DOWN'}),"
        "{First =:= {'EXIT', A, boom}, Second =:= {'DOWN', Ref, process, C, bang}, Do(B, drain)}",
        "{true,true,[{x,1}]}",
        since=28,
    ),
}

#: Trace tokens (seq_trace) are of BEAMs; here they are taken and have no effect.
TRACED = {
    "traced, SEND_SENDER_TT": Case(
        "Do(A, {traced, {send, B, {m, 1}}}), Do(B, take)", "{m,1}", sent=(Op.SEND_SENDER_TT,), only="in"
    ),
    "traced, SEND_TT": Case(
        "Do(A, {traced, {send, B, {m, 1}}}), Do(B, take)",
        "{m,1}",
        sent=(Op.SEND_TT,),
        only="in",
        without=DistFlag.SEND_SENDER,
    ),
    "traced, REG_SEND_TT": Case(
        "Do(B, {register, traced}), Do(A, {traced, {send, {traced, NB}, {m, 1}}}), Do(B, take)",
        "{m,1}",
        sent=(Op.REG_SEND_TT,),
        only="in",
    ),
    "traced, ALIAS_SEND_TT": Case(
        "Alias = Do(B, alias), Do(A, {traced, {send, Alias, {m, 1}}}), Do(B, take)",
        "{m,1}",
        sent=(Op.ALIAS_SEND_TT,),
        only="in",
        without=DistFlag.ALTACT_SIG,
    ),
    "traced, ALTACT_SIG_SEND": Case(
        "Alias = Do(B, alias), Do(A, {traced, {send, Alias, {m, 1}}}), Do(B, take)",
        "{m,1}",
        sent=(Op.ALTACT_SIG_SEND,),
        only="in",
        since=28,
    ),
    "traced, PAYLOAD_EXIT_TT": Case(
        "Do(B, {trap, true}), Do(A, {link, B}), Sync(A, B), Tell(A, {traced, {leave, boom}}),"
        "{'EXIT', A, Reason} = Do(B, take), Reason",
        "boom",
        sent=(Op.PAYLOAD_EXIT_TT,),
        only="in",
    ),
    "traced, EXIT_TT": Case(
        "Do(B, {trap, true}), Do(A, {link, B}), Sync(A, B), Tell(A, {traced, {leave, boom}}),"
        "{'EXIT', A, Reason} = Do(B, take), Reason",
        "boom",
        sent=(Op.EXIT_TT,),
        only="in",
        without=DistFlag.EXIT_PAYLOAD,
    ),
    "traced, SPAWN_REQUEST_TT": Case(
        "Ref = Do(A, {traced, {spawn_request, NB, child, [A], []}}),"
        "{spawn_reply, Ref, ok, Pid} = Do(A, {take, spawn_reply}), node(Pid) =:= NB",
        "true",
        sent=(Op.SPAWN_REQUEST_TT,),
        only="in",
    ),
}

#: For tests that are more than a script.
PLAIN = "plain"

CASES: dict[str, Case] = LINKS | EXITS | MONITORS | ALIASES | MESSAGES | SPAWNS | ORDER | PRIORITY | TRACED


# -- the wire, seen ----------------------------------------------------------------------------


@dataclass
class Wire:
    """The operations of the control messages that have come in and gone out."""

    received: set[Op] = field(default_factory=set)
    sent: set[Op] = field(default_factory=set)


@pytest.fixture(scope="module", params=CARRIERS)
def beams(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Beams]:
    with two_beams(request.param, tmp_path_factory.mktemp("beams"), [SCRIPTED_PROCESS_ERL]) as both:
        for beam in (both.asking, both.model):
            beam.eval_now("scripted:start()")
        yield both


@pytest.fixture
def case(request: pytest.FixtureRequest) -> Case:
    return Case("", "") if request.param == PLAIN else CASES[request.param]


@pytest_asyncio.fixture
async def conformance(
    beams: Beams, case: Case, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[ConformancePair]:
    """Our node with scripted processes, offering what the case lets it."""
    monkeypatch.setattr(quicdist.node.local_node, "DEFAULT_FLAGS", DEFAULT_FLAGS & ~case.without)
    async with conformance_pair(beams) as both:
        offer_scripted_processes(both.node)
        yield both


@pytest.fixture
def wire(conformance: ConformancePair, monkeypatch: pytest.MonkeyPatch) -> Wire:
    seen = Wire()
    to_term, message_handler = ControlMessage.to_term, conformance.node._local.message_handler

    def encoded(control: ControlMessage) -> tuple[object, ...]:
        seen.sent.add(control.op)
        return to_term(control)

    def watched(node: str) -> MessageHandler:
        handler = message_handler(node)

        def received(control: ControlMessage, payload: object) -> None:
            seen.received.add(control.op)
            handler(control, payload)

        return received

    monkeypatch.setattr(ControlMessage, "to_term", encoded)
    monkeypatch.setattr(conformance.node._local, "message_handler", watched)
    return seen


def directions(cases: dict[str, Case]) -> list[object]:
    return [
        pytest.param(name, direction, id=f"{name}-{direction}")
        for name, case in cases.items()
        for direction in ("in", "out")
        if case.only in (None, direction)
    ]


@pytest.mark.parametrize(("case", "direction"), directions(CASES), indirect=["case"])
async def test_as_between_beams(conformance: ConformancePair, wire: Wire, case: Case, direction: str) -> None:
    """``in``: from a BEAM to us; ``out``: from us to a BEAM."""
    release, _ = erl_facts()
    if not case.since <= release <= case.until:
        pytest.skip(f"OTP {case.since or ''} to {case.until} do this, and this is OTP {release}")
    alone = conformance.carrier == "quic" and case.over_quic is not None
    if alone and direction not in (case.over_quic or ()):
        pytest.skip("quic_dist sends these signals on several streams, in any order")
    here, there = ("node()", "PEER") if direction == "in" else ("PEER", "node()")
    script = f"{PROLOGUE} try {case.script} after scripted:clear(NA), scripted:clear(NB) end"
    script = f"scripted:apart(fun() -> {script} end)"
    script = script.replace("AT_A", here).replace("AT_B", there)
    assert await (conformance.eval if alone else conformance.same)(script) == case.gives
    sent, back = (wire.received, wire.sent) if direction == "in" else (wire.sent, wire.received)
    assert set(case.sent) <= sent
    assert set(case.back) <= back


# -- what is no scripted's work ------------------------------------------------------------------


@pytest.mark.parametrize("case", [PLAIN], indirect=True)
@pytest.mark.parametrize("direction", ["in", "out"])
async def test_spawn_options(conformance: ConformancePair, wire: Wire, direction: str) -> None:
    """What a BEAM makes of each list of options, we make of it: a process, or ``badopt``."""
    release, _ = erl_facts()
    lists = ", ".join(options for since, options in SPAWN_OPTIONS.items() if since <= release)
    here, there = ("node()", "PEER") if direction == "in" else ("PEER", "node()")
    got = await conformance.same(
        f"scripted:apart(fun() -> A = scripted:new({here}), [begin"
        f" Ref = scripted:do(A, {{spawn_request, {there}, leader, [self()], Options}}),"
        " {spawn_reply, Ref, Is, Result} = scripted:do(A, {take, spawn_reply}),"
        " {Options, Is, [Result || is_atom(Result)]} end"
        f" || Options <- [{lists}]] end)"
    )
    assert "{[nonsense],error,[badopt]}" in got
    assert "{[{priority,max}],ok,[]}" in got
    assert {Op.SPAWN_REQUEST, Op.SPAWN_REPLY} <= wire.sent | wire.received


@pytest.mark.parametrize("case", [PLAIN], indirect=True)
async def test_spawn_reply_with_a_trace_token(
    conformance: ConformancePair, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A BEAM puts a token into its reply to a request that has one; our requests have none, so one
    is put in here."""
    node = conformance.node
    parent, messages = keeper(node)
    connections = node._local.connections
    send = connections.send

    def traced(to: str, control: ControlMessage, payload: object, pair: object) -> bool:
        assert isinstance(control, SpawnRequest)
        token = (1, 17, 1, parent.pid, 0)
        return send(to, SpawnRequestTT(*control, token), payload, pair)

    await node.connect(conformance.beam_name)
    monkeypatch.setattr(node._local.runtime, "_transmit", traced)
    reference = parent.spawn_request(conformance.beam_name, "erlang", "self")
    reply = await messages.get()
    assert reply[:3] == (Atom("spawn_reply"), reference, Atom("ok"))
    assert Op.SPAWN_REPLY_TT in wire.received


@pytest.mark.parametrize("case", [PLAIN], indirect=True)
async def test_node_link_means_nothing(conformance: ConformancePair, wire: Wire) -> None:
    """No BEAM sends NODE_LINK any more, nor do we; the connection on which one comes goes on."""
    node = conformance.node
    await node.connect(conformance.beam_name)
    link = node._local.connections.link(conformance.beam_name)
    node._local.message_handler(conformance.beam_name)(NodeLink(), NO_PAYLOAD)
    assert await node.ping(conformance.beam_name)
    assert node._local.connections.link(conformance.beam_name) is link


@pytest.mark.parametrize("case", [PLAIN], indirect=True)
async def test_spawn_of_exported_functions(conformance: ConformancePair, wire: Wire) -> None:
    """What is exported to be called can be spawned as well: it is what the process does."""
    node = conformance.node
    got: list[Any] = []

    @node.export("exported")
    def adds(one: int, two: int) -> int:
        got.append(one + two)
        return one + two

    @node.export("exported")
    async def receives() -> None:
        got.append(await current_call().process.receive())

    @node.export("exported")
    def fails() -> None:
        raise ProcessExit((Atom("because"), 1))

    ends = await conformance.eval(
        "scripted:apart(fun() -> End = fun({P, M}) -> receive {'DOWN', M, process, P, R} -> R end end,"
        "{P, _} = Receiver = spawn_monitor(PEER, exported, receives, []), P ! {hello, 1},"
        "[End(spawn_monitor(PEER, exported, adds, [1, 2])), End(Receiver),"
        " End(spawn_monitor(PEER, exported, fails, [])), End(spawn_monitor(PEER, exported, adds, [1]))] end)"
    )
    assert ends == "[normal,normal,{because,1},{undef,[{exported,adds,[1],[]}]}]"
    assert sorted(map(str, got)) == sorted(map(str, [3, (Atom("hello"), 1)]))


def keeper(node: Node) -> tuple[Process, asyncio.Queue[Any]]:
    """A process that keeps what it is sent, exit signals too."""
    messages: asyncio.Queue[Any] = asyncio.Queue()
    process = node.spawn(lambda _, message: messages.put_nowait(message))
    process.trap_exit = True
    return process, messages
