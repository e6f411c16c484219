"""The text that a stock BEAM prints for log events."""

from __future__ import annotations

from tests.support.beam import Beam

_INSTALL = r"""
(fun() ->
    Forms = [begin {ok, T, _} = erl_scan:string(S), {ok, F} = erl_parse:parse_form(T), F end || S <- [
        "-module(printed_to).",
        "-export([log/2]).",
        "log(Event, #{config := #{to := To, key := Key}, formatter := {Module, Config}}) ->"
        "    To ! {printed, Key, unicode:characters_to_binary(Module:format(Event, Config))}."]],
    code:is_loaded(printed_to) =:= false andalso begin
        {ok, printed_to, Code} = compile:forms(Forms),
        {module, printed_to} = code:load_binary(printed_to, "printed_to.erl", Code)
    end,
    logger:remove_handler(printed_to),
    {ok, Default} = logger:get_handler_config(default),
    Key = make_ref(),
    put(printed_to, Key),
    ok = logger:add_handler(printed_to, printed_to,
        (maps:with([filters, filter_default, formatter, level], Default))
            #{config => #{to => self(), key => Key}})
end)()
"""


async def watch_printed(beam: Beam) -> None:
    """Record what the default handler prints from now on: a second handler with the same filters and
    formatter sends it to the evaluating process. What an earlier call recorded is dropped."""
    await beam.eval(_INSTALL)


async def printed(beam: Beam, seconds: float = 10.0) -> str:
    """The next printed text; empty if there is none within ``seconds``."""
    wait = f"receive {{printed, Key, Text}} -> Text after {round(seconds * 1000)} -> <<>> end"
    return (await beam.eval_bytes(f"(fun(Key) -> {wait} end)(get(printed_to))")).decode()
