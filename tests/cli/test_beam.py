"""``quicdist ping`` and ``quicdist call`` against BEAMs: a stock one over TCP, quic_dist over QUIC."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.cli.command import Result, run, run_program
from tests.cli.peers import COOKIE, Peer, node_name, quic_beam, tcp_beam
from tests.support.beam import Beam
from tests.support.epmd import free_port


def call(peer: Peer, *arguments: str) -> Result:
    return run("call", peer.name, *arguments, *peer.options)


def beam_of(peer: Peer) -> Beam:
    assert peer.beam is not None
    return peer.beam


class TestPing:
    def test_pong(self, peer: Peer) -> None:
        assert run_program("ping", peer.name, *peer.options) == (0, "pong\n", "")

    def test_the_name_given_is_the_one_the_beam_sees(self, peer: Peer) -> None:
        beam = beam_of(peer)
        beam.eval_now("net_kernel:monitor_nodes(true, [{node_type, all}])")
        name = node_name("given")
        assert run("ping", peer.name, *peer.options, "--name", name) == (0, "pong\n", "")
        seen = f"receive {{nodeup, '{name}', _}} -> receive {{nodedown, '{name}', _}} -> gone end end"
        assert beam.eval_now(seen) == "gone"
        beam.eval_now("net_kernel:monitor_nodes(false, [{node_type, all}])")

    def test_a_wrong_cookie(self, peer: Peer) -> None:
        # quic_dist before 2.0 does not answer a wrong cookie: only the time-out tells.
        status, out, err = run("ping", peer.name, *peer.options, "--cookie", "other", "--timeout", "2")
        assert (status, out) == (1, "pang\n")
        assert err.startswith(f"quicdist: cannot reach node {peer.name}: ")
        assert f"wrong cookie for {peer.name}: " in err or "although our digest was received" in err

    def test_a_name_that_is_not_registered(self, peer: Peer) -> None:
        name = node_name("nobody")
        carrier = peer.options[:2] if "tcp" in peer.options else ()
        where = () if carrier else ("--address", f"{name}=127.0.0.1:{free_port()}")
        status, out, err = run("ping", name, *carrier, "--cookie", COOKIE, *where)
        assert (status, out) == (1, "pang\n")
        assert err.startswith(f"quicdist: cannot reach node {name}: ")
        assert ("not registered" if carrier else "connection refused") in err


#: Terms as one types them.
TERMS = [
    "1",
    "-1.5e-7",
    "ok",
    "'two words'",
    "\"a string\"",
    "[]",
    "[1,[2,[3|4]]]",
    "{a,<<\"binary\">>,<<1,2,3:5>>}",
    "#{a => 1,1 => one,1.0 => one,\"k\" => #{}}",
    "<<\"zw\\x{f6}lf\"/utf8>>",
    "[$a,1000]",
    "fun lists:map/2",
    "340282366920938463463374607431768211456",
    "[{key,\"a longer list that no line of eighty characters holds\"},{another,[1,2,3,4,5,6,7,8,9,10]}]",
    "#{" + ",".join(f"key{n} => {{value,{n}}}" for n in range(40)) + "}",
]  # fmt: skip


class TestCall:
    def test_reverse(self, peer: Peer) -> None:
        result = run_program("call", peer.name, "lists", "reverse", "[[1,2,3]]", *peer.options)
        assert result == (0, "[3,2,1]\n", "")

    @pytest.mark.parametrize("term", TERMS)
    def test_prints_what_erlang_prints(self, peer: Peer, term: str) -> None:
        expected = beam_of(peer).eval_bytes_now(
            f'unicode:characters_to_binary(io_lib:format("~tp~n", [{term}]))'
        )
        assert call(peer, "lists", "last", f"[[{term}]]") == (0, expected.decode(), "")

    def test_no_arguments_unless_given(self, peer: Peer) -> None:
        assert call(peer, "erlang", "node") == (0, f"'{peer.name}'\n", "")

    def test_what_the_function_prints(self, peer: Peer) -> None:
        assert call(peer, "io", "format", '["~p, ~ts~n",[one,"two"]]') == (0, "one, two\nok\n", "")

    def test_a_function_that_does_not_exist(self, peer: Peer) -> None:
        assert call(peer, "lists", "esrever", "[[1],'a b']") == (
            1,
            "",
            f"quicdist: lists:esrever/2 on {peer.name}: error: undef\n  in lists:esrever([1], 'a b')\n",
        )

    def test_a_function_that_fails(self, peer: Peer) -> None:
        status, out, err = call(peer, "lists", "reverse", "[foo]")
        assert (status, out) == (1, "")
        reason, where = err.splitlines()
        assert reason == f"quicdist: lists:reverse/1 on {peer.name}: error: function_clause"
        line = beam_of(peer).eval_now(
            "try apply(lists, reverse, [foo]) catch _:_:S -> [{_, _, _, [_, {line, L}]} | _] = S, L end"
        )
        assert where == f"  in lists:reverse(foo) (lists.erl, line {line})"

    @pytest.mark.parametrize("kind", ["exit", "throw"])
    def test_exits_and_throws(self, peer: Peer, kind: str) -> None:
        assert call(peer, "erlang", kind, '[{no,"way"}]') == (
            1,
            "",
            f'quicdist: erlang:{kind}/1 on {peer.name}: {kind}: {{no,"way"}}\n',
        )

    def test_too_slow(self, peer: Peer) -> None:
        assert call(peer, "timer", "sleep", "[infinity]", "--timeout", "0.3") == (
            1,
            "",
            f"quicdist: timer:sleep/1 on {peer.name} did not answer within 0.3 s\n",
        )

    def test_a_value_too_large_for_one_frame(self, peer: Peer) -> None:
        size = 300_000
        status, out, err = call(peer, "binary", "copy", f"[<<7>>,{size}]")
        assert (status, err) == (0, "")
        assert out.count("7") == size


@pytest.mark.beam
def test_a_beam_that_ends_in_the_middle() -> None:
    """Over TCP: over QUIC a BEAM that halts says no goodbye, and only the ticks tell."""
    with tcp_beam() as peer:
        status, out, err = call(peer, "erlang", "halt", "[0,[{flush,false}]]")
    assert (status, out) == (1, "")
    lost = f"connection to {peer.name} lost: the peer closed it"
    assert err == f"quicdist: cannot reach node {peer.name}: {lost}\n"


@pytest.mark.beam
def test_short_names() -> None:
    """The command takes a short name for itself where its peer has one."""
    alive = node_name("short").partition("@")[0]
    name = f"{alive}@{socket.gethostname().partition('.')[0]}"
    with Beam(["-sname", name, "-setcookie", COOKIE]):
        assert run("ping", name, "--carrier", "tcp", "--cookie", COOKIE) == (0, "pong\n", "")


@pytest.mark.quic_dist
def test_the_configuration_of_the_cluster(tmp_path: Path, certs: Path) -> None:
    """``--config`` and ``--vm-args`` say where the BEAM is, what its cookie is and whom to believe."""
    with quic_beam(tmp_path, free_port, certs) as peer:
        port = peer.options[-1].rpartition(":")[2]
        config, vm_args = tmp_path / "sys.config", tmp_path / "vm.args"
        config.write_text(
            f'[{{quic, [{{dist, [{{cacert_file, "{certs}/ca.pem"}}, {{verify, verify_peer}},\n'
            f"  {{nodes, [{{'{peer.name}', {{\"127.0.0.1\", {port}}}}}]}}]}}]}}].\n"
        )
        vm_args.write_text(f"-name {peer.name}\n-setcookie {COOKIE}\n-proto_dist quic\n")
        files = ("--config", str(config), "--vm-args", str(vm_args))
        assert run("ping", peer.name, *files) == (0, "pong\n", "")
        assert run("ping", peer.name, *files, "--cookie", "other", "--timeout", "1").status == 1


@pytest.mark.beam
def test_nodes_prints_the_nodes_of_an_epmd_and_which_are_down(tmp_path: Path) -> None:
    with tcp_beam() as peer:
        other = node_name("nobody")
        status, out, err = run("nodes", "--epmd", "127.0.0.1", other, *peer.options)
        assert (status, err) == (1, "")
        lines = dict(line.split(None, 1) for line in out.splitlines())
        assert lines[peer.name] == "up"
        assert lines[other].startswith(f"down: cannot reach node {other}: ")
        topology = f"[{{strategy, 'Elixir.Cluster.Strategy.Epmd'}}, {{config, [{{hosts, ['{peer.name}']}}]}}]"
        config = tmp_path / "sys.config"
        config.write_text(f"[{{libcluster, [{{topologies, [{{t, {topology}}}]}}]}}].")
        given = ("nodes", "--config", str(config), *peer.options)
        assert run(*given) == (0, f"{peer.name}  up\n", "")


def test_a_command_that_ends_leaves_the_log_of_the_beam_empty(peer: Peer) -> None:
    beam = beam_of(peer)
    before = beam.logged()
    beam.eval_now("net_kernel:monitor_nodes(true, [{node_type, all}])")
    for command in (
        ("ping",),
        ("nodes",),
        ("call", "lists", "reverse", "[[1]]"),
        ("call", "timer", "sleep", "[9000]"),
    ):
        name = node_name("silent")
        timeout = ("--timeout", "0.7") if "sleep" in command else ()
        run_program(command[0], peer.name, *command[1:], *peer.options, "--name", name, *timeout)
        gone = f"receive {{nodedown, '{name}', _}} -> gone after 30000 -> error(late) end"
        assert beam.eval_now(gone) == "gone"
    beam.eval_now("net_kernel:monitor_nodes(false, [{node_type, all}])")
    # The log handler has written what it was given before it answers.
    beam.eval_now("logger_std_h:filesync(default)")
    assert beam.logged() == before
