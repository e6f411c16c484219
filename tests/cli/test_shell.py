"""``quicdist shell``: expressions on a BEAM, calls of a Python node, and the prompt on a terminal."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.terminal import terminal
from tests.cli.command import PROGRAM, Result
from tests.cli.peers import Peer, tcp_beam

pytestmark = pytest.mark.beam


@pytest.fixture(scope="module")
def beam() -> Iterator[Peer]:
    with tcp_beam() as peer:
        yield peer


def shell(peer: Peer, text: str, *options: str) -> Result:
    """What the command prints for these lines of standard input."""
    done = subprocess.run(
        [str(PROGRAM), "shell", peer.name, *peer.options, *options],
        input=text,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return Result(done.returncode, done.stdout, done.stderr)


class TestLines:
    def test_calls_and_expressions(self, beam: Peer) -> None:
        given = {
            "lists:reverse([1,2,3]).": "[3,2,1]",
            "'lists' : reverse ( [ a , 'B c' ] )": "['B c',a]",
            '{a, #{b => "c"}}': '{a,#{b => "c"}}',
            "X = lists:seq(1, 3).": "[1,2,3]",
            "[N * 2 || N <- X].": "[2,4,6]",
            "Double = fun(N) -> 2 * N end, lists:map(Double, X)": "[2,4,6]",
            "Double(21).": "42",
            "lists:nth(1, X) + lists:nth(2, X)": "3",
            "node()": f"'{beam.name}'",
            'io:format("~p~n", [hello])': "hello\nok",
            "% a comment": "",
            "f()": "ok",
        }
        status, out, err = shell(beam, "\n".join(given))
        assert (status, err) == (0, "")
        assert out == "".join(f"{text}\n" for text in given.values() if text)

    def test_json(self, beam: Peer) -> None:
        status, out, _ = shell(beam, '#{a => [1, <<"b">>]}\nq()\nnot_read', "--json")
        assert (status, json.loads(out)) == (0, {"a": [1, "b"]})

    def test_errors_are_those_of_the_beam_and_the_lines_after_them_are_evaluated(self, beam: Peer) -> None:
        status, out, err = shell(beam, 'foo(\nX + 1\n"open\nlists:nope(1)\nok.')
        assert (status, out) == (1, "ok\n")
        assert err.splitlines() == [
            "quicdist: syntax error before: '.'",
            f"quicdist: erl_eval:exprs/2 on {beam.name}: error: {{unbound_var,'X'}}",
            *[line for line in err.splitlines() if line.startswith("  in erl_eval:")],
            'quicdist: unterminated string starting with "open."',
            f"quicdist: lists:nope/1 on {beam.name}: error: undef",
            "  in lists:nope(1)",
        ]

    def test_a_message_is_sent(self, beam: Peer) -> None:
        assert beam.beam is not None
        beam.beam.eval_now("register(taker, spawn(fun() -> receive over -> ok end end))")
        status, out, err = shell(beam, "taker ! {hello,7}\nprocess_info(whereis(taker), messages)")
        assert (status, out, err) == (0, "{hello,7}\n{messages,[{hello,7}]}\n", "")

    def test_variables_of_a_lost_connection_are_kept(self, beam: Peer) -> None:
        gone = "[net_kernel:disconnect(N) || N <- nodes(hidden)]"
        status, out, err = shell(beam, f"X = 7\n{gone}\nX")
        assert (status, out) == (1, "7\n7\n")
        assert "lost" in err


def test_a_python_node_takes_calls_only(echo: Peer) -> None:
    lines = "echo:echo([1])\n1 + 1\necho ! hello"
    status, out, err = shell(echo, lines, "--no-verify")
    assert (status, out) == (1, "[1]\nhello\n")
    assert err.startswith(
        f"quicdist: {echo.name} is no BEAM and evaluates no expressions: write module:function(Terms)"
    )


def wait_registered(beam: Peer, name: str) -> None:
    """Until a process of the BEAM, the one that evaluates, has registered this name."""
    assert beam.beam is not None
    beam.beam.eval_now(
        f"(fun F() -> case whereis({name}) of undefined -> erlang:yield(), F(); _ -> ok end end)()"
    )


class TestTerminal:
    def test_history_and_completion(self, beam: Peer, tmp_path: Path) -> None:
        command = [str(PROGRAM), "shell", beam.name, *beam.options]
        state = {"XDG_STATE_HOME": str(tmp_path)}
        with terminal(command, env=state) as window:
            window.wait_for(f"({beam.name})1>")
            window.type("string:to_gr\t")
            window.wait_for("string:to_graphemes(")
            window.type('"ab")\r')
            window.wait_for(f"({beam.name})2>")
            assert '"ab"' in window.lines
            window.type("proplis\t")
            window.wait_for("2> proplists:")
            window.type("\x03")
            window.wait_until(lambda lines: sum("2>" in line for line in lines) == 2)
            window.type("\x1b[A\r")
            window.wait_for(f"({beam.name})3>")
            window.type("\x04")
            assert window.wait_ended() == 0
        history = tmp_path / "quicdist" / "shell_history"
        assert history.stat().st_mode & 0o777 == 0o600
        assert 'string:to_graphemes("ab")' in history.read_text()

    def test_an_error_leaves_the_prompt(self, beam: Peer, tmp_path: Path) -> None:
        command = [str(PROGRAM), "shell", beam.name, *beam.options]
        with terminal(command, env={"XDG_STATE_HOME": str(tmp_path)}) as window:
            window.wait_for("1>")
            window.type("lists:nope()\r")
            window.wait_for("error: undef")
            window.type("q()\r")
            assert window.wait_ended() == 0

    def test_an_expression_is_interrupted_and_its_variables_stay(self, beam: Peer, tmp_path: Path) -> None:
        command = [str(PROGRAM), "shell", beam.name, *beam.options]
        with terminal(command, env={"XDG_STATE_HOME": str(tmp_path)}) as window:
            window.wait_for("1>")
            window.type("X = 20 + 1.\r")
            window.wait_for("2>")
            window.type("register(waits, self()), receive after infinity -> ok end.\r")
            wait_registered(beam, "waits")
            window.process.send_signal(signal.SIGINT)
            window.wait_for(f"quicdist: interrupted; {beam.name} may still be busy with it")
            window.wait_for("3>")
            window.type("2 * X.\r")
            window.wait_for("42")
            window.type("\x04")
            assert window.wait_ended() == 0

    def test_keys_typed_while_an_expression_is_evaluated_come_to_the_next_prompts(
        self, beam: Peer, tmp_path: Path
    ) -> None:
        command = [str(PROGRAM), "shell", beam.name, *beam.options]
        with terminal(command, env={"XDG_STATE_HOME": str(tmp_path)}) as window:
            window.wait_for("1>")
            window.type('string:to_upper("once")\r')
            window.wait_for("2>")
            window.type("register(asked, self()), receive go_on -> up, down end.\r")
            assert beam.beam is not None
            wait_registered(beam, "asked")
            window.type("\x1b[A\x1b[A\r\x04")
            beam.beam.eval_now("asked ! go_on")
            assert window.wait_ended() == 0
            shown = [line for line in window.lines if line]
            assert shown[-3:] == [
                f'({beam.name})3> string:to_upper("once")',
                '"ONCE"',
                f"({beam.name})4>",
            ]

    def test_ctrl_z_stops_an_evaluation_and_the_terminal_is_as_it_was(
        self, beam: Peer, tmp_path: Path
    ) -> None:
        env = {"XDG_STATE_HOME": str(tmp_path), "PS1": "sh> ", "ENV": ""}
        # A terminal that a new session opens first is its own: a shell needs that for Ctrl-Z.
        with terminal(["/bin/sh", "-c", "exec /bin/sh -i <`tty` >`tty` 2>&1"], env=env) as window:
            window.wait_for("sh>")
            window.type(" ".join([str(PROGRAM), "shell", beam.name, *beam.options]) + "\r")
            window.wait_for(")1>")
            window.type("register(stopped, self()), receive go_on -> up end.\r")
            assert beam.beam is not None
            wait_registered(beam, "stopped")
            window.type("\x1a")
            window.wait_until(lambda lines: sum("sh>" in line for line in lines) == 2)
            window.type("echo it is ech''oed\r")
            window.wait_for("echo it is ech''oed")
            window.wait_until(lambda lines: "it is echoed" in lines)
            window.type("fg\r")
            beam.beam.eval_now("stopped ! go_on")
            window.wait_for(")2>")
            window.type("\x04")
            window.wait_until(lambda lines: sum(line.startswith("sh>") for line in lines) == 4)
            window.type("exit\r")
            window.wait_ended()

    def test_without_prompt_toolkit_lines_are_read(self, beam: Peer, tmp_path: Path) -> None:
        (tmp_path / "prompt_toolkit.py").write_text("raise ImportError('not here')\n")
        command = [str(PROGRAM), "shell", beam.name, *beam.options]
        with terminal(command, env={"PYTHONPATH": str(tmp_path)}) as window:
            window.wait_for("pip install 'quicdist[shell]'")
            window.wait_for(f"({beam.name})1>")
            window.type("lists:seq(1,3)\r")
            window.wait_for("[1,2,3]")
            window.type("\x04")
            assert window.wait_ended() == 0


class TestTop:
    def test_the_live_view_sorts_by_the_key_that_is_typed(self, beam: Peer) -> None:
        command = [str(PROGRAM), "top", beam.name, *beam.options, "--interval", "0.2"]
        with terminal(command) as window:
            window.wait_for("schedulers")
            window.type("n")

            def sorted_by_name(lines: list[str]) -> bool:
                names = [line.split()[1] for line in lines[3:] if line.startswith("<")]
                return len(names) > 5 and names == sorted(names) and names[0].startswith("application")

            window.wait_until(sorted_by_name)
            window.type("q")
            assert window.wait_ended() == 0

    def test_ctrl_c_ends_the_live_view_like_q(self, beam: Peer) -> None:
        with terminal([str(PROGRAM), "top", beam.name, *beam.options]) as window:
            window.wait_for("schedulers")
            window.process.send_signal(signal.SIGINT)
            assert window.wait_ended() == 0
