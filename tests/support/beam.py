"""A real BEAM, controlled by the tests.

A :class:`Beam` is an ``erl`` process that evaluates Erlang source. Source and results use their own pair of
pipes, so log output of the node cannot mix with them. Variables stay bound, as in an Erlang shell.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import select
import shutil
import struct
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

#: Reads requests ``<<ExprLen:32, Expr/binary, Data/binary>>``, answers ``<<Kind, Result/binary>>``.
_EVALUATOR = """
In = {fd_in}, Out = {fd_out},
Fmt = fun(F, A) -> unicode:characters_to_binary(io_lib:format(F, A)) end,
Eval = fun(Source, Data, Bindings0) ->
  Bindings = erl_eval:add_binding('Data', Data, Bindings0),
  try
    {{ok, Tokens, _}} = erl_scan:string(unicode:characters_to_list(Source) ++ "."),
    {{ok, Exprs}} = erl_parse:parse_exprs(Tokens),
    {{value, Value, Next}} = erl_eval:exprs(Exprs, Bindings),
    case is_binary(Value) of
      true -> {{<<0, Value/binary>>, Next}};
      false -> {{[1, Fmt("~0tp", [Value])], Next}}
    end
  catch C:R:S -> {{[2, Fmt("~0tp: ~0tp~n~tp", [C, R, S])], Bindings0}} end
end,
Loop = fun(Self, Port, Bindings) ->
  receive
    {{Port, {{data, <<N:32, Source:N/binary, Data/binary>>}}}} ->
      {{Answer, Next}} = Eval(Source, Data, Bindings),
      true = port_command(Port, Answer),
      Self(Self, Port, Next);
    {{Port, eof}} -> halt(0, [{{flush, false}}])
  end
end,
Pid = spawn(fun() ->
  Port = open_port({{fd, In, Out}}, [binary, {{packet, 4}}, eof]),
  port_command(Port, [1, "ready"]),
  Loop(Loop, Port, erl_eval:new_bindings())
end),
catch register(beam_evaluator, Pid).
"""


class BeamError(Exception):
    """An expression raised on the BEAM, or the BEAM did not start or did not answer."""


def erl_path() -> str | None:
    """The ``erl`` of the tests: ``$QUICDIST_ERL``, or the first one on ``PATH``."""
    return os.environ.get("QUICDIST_ERL") or shutil.which("erl")


@functools.cache
def erl_facts(erl: str | None = None) -> tuple[int, str | None]:
    """The OTP release of ``erl`` and the version of the application ``quic`` it finds, or None."""
    command = erl or erl_path()
    if command is None:
        raise BeamError("there is no erl on this machine")
    script = (
        "V = case application:load(quic) of ok -> element(2, application:get_key(quic, vsn)); "
        '_ -> "none" end, '
        'io:format("~s ~s", [erlang:system_info(otp_release), V]), halt().'
    )
    out = subprocess.run(
        [command, "-noshell", "-eval", script],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    ).stdout
    release, version = out.split()
    return int(release), None if version == "none" else version


#: The applications on the code path whose dependencies are present too. Debian's ``erlang-base`` has no
#: public_key, for example.
_APPLICATIONS = """
Found = lists:usort([list_to_atom(filename:basename(File, ".app"))
                     || Folder <- code:get_path(), File <- filelib:wildcard(Folder ++ "/*.app")]),
Whole = fun Whole(App) -> lists:member(App, Found) andalso case application:load(App) of
  {error, {already_loaded, _}} -> true;
  {error, _} -> false;
  ok -> {ok, Needed} = application:get_key(App, applications), lists:all(Whole, Needed)
end end,
[io:format("~ts ", [App]) || App <- Found, Whole(App)], halt().
"""


@functools.cache
def erl_applications() -> frozenset[str]:
    """The OTP applications (and those on ``$ERL_LIBS``) that :func:`erl_path` can start."""
    command = erl_path()
    if command is None:
        raise BeamError("there is no erl on this machine")
    found = subprocess.run(
        [command, "-noshell", "-eval", _APPLICATIONS], check=True, capture_output=True, text=True, timeout=60
    )
    return frozenset(found.stdout.split())


@functools.cache
def elixir_path() -> str | None:
    """The ``elixir`` in the directory of the tested ``erl``, if there is one that works."""
    beside = Path(erl_path() or "").with_name("elixir")
    found = str(beside) if os.environ.get("QUICDIST_ERL") else shutil.which("elixir")
    if found is None or shutil.which(found) is None:
        return None
    version = subprocess.run([found, "--version"], capture_output=True, timeout=60)
    return found if version.returncode == 0 else None


class Beam:
    """A running ``erl``; a context manager and an asynchronous one.

    ``eval`` waits in a thread, so that a node in the same event loop can answer the BEAM meanwhile.
    ``eval_now`` blocks.
    """

    def __init__(
        self,
        args: Sequence[str] = (),
        *,
        erl: str | None = None,
        environment: Mapping[str, str] | None = None,
        start_timeout: float = 60.0,
    ) -> None:
        command = erl or erl_path()
        if command is None:
            raise BeamError("there is no erl on this machine")
        request_read, self._write_fd = os.pipe()
        self._read_fd, answer_write = os.pipe()
        descriptor, log_path = tempfile.mkstemp(prefix="beam-", suffix=".log")
        os.close(descriptor)
        self.log = Path(log_path)
        script = _EVALUATOR.format(fd_in=request_read, fd_out=answer_write)
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [command, "-noshell", *args, "-eval", script],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=(request_read, answer_write),
                env={**os.environ, **(environment or {})},
            )
        os.close(request_read)
        os.close(answer_write)
        self._lock = threading.Lock()
        self._received = b""
        try:
            self._answer(start_timeout)
        except BeamError:
            self.kill()
            raise

    # -- evaluating ------------------------------------------------------------------------

    def eval_now(self, source: str, data: bytes = b"", *, timeout: float = 60.0) -> str:
        """Evaluate ``source`` (without final dot) with ``Data`` bound; the result as ``~0tp``."""
        return self._request(source, data, timeout).decode()

    def eval_bytes_now(self, source: str, data: bytes = b"", *, timeout: float = 60.0) -> bytes:
        """Evaluate ``source``, whose value is a binary, and return that binary."""
        return self._request(source, data, timeout)

    async def eval(self, source: str, data: bytes = b"", *, timeout: float = 60.0) -> str:
        return await asyncio.to_thread(self.eval_now, source, data, timeout=timeout)

    async def eval_bytes(self, source: str, data: bytes = b"", *, timeout: float = 60.0) -> bytes:
        return await asyncio.to_thread(self.eval_bytes_now, source, data, timeout=timeout)

    def _request(self, source: str, data: bytes, timeout: float) -> bytes:
        text = source.encode()
        packet = struct.pack(">II", 4 + len(text) + len(data), len(text)) + text + data
        with self._lock:
            view = memoryview(packet)
            while view:
                view = view[os.write(self._write_fd, view[: 1 << 16]) :]
            kind, value = self._answer(timeout)
        if kind == 2:
            raise BeamError(f"{source!r} on the BEAM: {value.decode()}")
        return value

    def _answer(self, timeout: float) -> tuple[int, bytes]:
        deadline = time.monotonic() + timeout
        while True:
            if len(self._received) >= 4:
                size = int.from_bytes(self._received[:4], "big")
                if len(self._received) >= 4 + size:
                    packet = self._received[4 : 4 + size]
                    self._received = self._received[4 + size :]
                    return packet[0], packet[1:]
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._read_fd], [], [], left)[0]:
                raise BeamError(f"no answer within {timeout} s; the BEAM's log:\n{self.logged()}")
            chunk = os.read(self._read_fd, 1 << 20)
            if not chunk:
                raise BeamError(f"the BEAM ended; its log:\n{self.logged()}")
            self._received += chunk

    def logged(self) -> str:
        """The output of the BEAM so far."""
        return self.log.read_text(errors="replace")

    # -- ending ----------------------------------------------------------------------------

    def kill(self) -> None:
        """Kill the BEAM (SIGKILL); it closes no connection."""
        for fd in (self._write_fd, self._read_fd):
            with contextlib.suppress(OSError):
                os.close(fd)
        self.process.kill()
        self.process.wait()
        self.log.unlink(missing_ok=True)

    def __enter__(self) -> Beam:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    async def __aenter__(self) -> Beam:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.kill()


def tcp_args(
    name: str, cookie: str = "secret", *, hidden: bool = False, more: Iterable[str] = ()
) -> list[str]:
    """Arguments of a stock node over TCP, registered with epmd."""
    kind = "-name" if "." in name.partition("@")[2] else "-sname"
    return [kind, name, "-setcookie", cookie, *(["-hidden"] if hidden else []), *more]


def tls_args(directory: Path, *, cert: Path, key: Path) -> list[str]:
    """Further arguments of a stock node over TLS; writes its options in ``directory``. Nobody is verified:
    the BEAM verifies no name that is an address."""
    options = directory / "ssl_dist.conf"
    own = f'{{certfile, "{cert}"}}, {{keyfile, "{key}"}}, {{verify, verify_none}}'
    options.write_text(f"[{{server, [{own}]}}, {{client, [{own}]}}].\n")
    return ["-proto_dist", "inet_tls", "-ssl_dist_optfile", str(options)]


def quic_args(
    name: str,
    port: int,
    directory: Path,
    nodes: dict[str, tuple[str, int]],
    *,
    cert: Path,
    key: Path,
    cookie: str = "secret",
    more: Iterable[str] = (),
) -> list[str]:
    """Arguments for a node on erlang_quic's ``quic_dist``; writes its ``sys.config`` in ``directory``.

    The caller must evaluate ``application:ensure_all_started(quic)`` before the node dials: until then its
    table of nodes is empty.
    """
    table = ",".join(f"{{'{node}',{{\"{host}\",{at}}}}}" for node, (host, at) in nodes.items())
    config = directory / f"{name.partition('@')[0]}-sys.config"
    config.write_text(
        f'[{{quic,[{{dist,[{{cert_file,"{cert}"}},{{key_file,"{key}"}},{{verify,verify_none}},'
        f"{{discovery_module,quic_discovery_static}},{{nodes,[{table}]}}]}}]}}].\n"
    )
    return [
        *("-name", name, "-setcookie", cookie, "-proto_dist", "quic", "-epmd_module", "quic_epmd"),
        *("-start_epmd", "false", "-quic_dist_port", str(port)),
        *("-quic_dist_cert", str(cert), "-quic_dist_key", str(key)),
        *("-config", str(config.with_suffix("")), *more),
    ]
