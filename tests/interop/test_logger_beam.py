"""Log events between a Python node and a BEAM (kernel, *logger*)."""

from __future__ import annotations

import logging

from quicdist import Atom, LoggerHandler
from tests.interop.cluster import Cluster
from tests.support.beam_log import printed, watch_printed
from tests.support.records import records_of


async def test_what_fails_there_is_told_here(pair: Cluster) -> None:
    """We are the group leader of what a BEAM runs for us, and so have its log events and crash reports."""
    with records_of("quicdist.logger") as records:
        await pair.node.call(pair.beam_name, "logger", "error", [list(b"~p and ~ts"), [[1, 2], "zwölf"]])
        record = await records.next()
        assert record.levelno == logging.ERROR
        assert record.getMessage() == f"{pair.beam_name}: [1,2] and zwölf"
        assert record.node == pair.beam_name  # type: ignore[attr-defined]
        # A report, which only the library that made it can tell.
        await pair.node.call(pair.beam_name, "proc_lib", "spawn", [Atom("erlang"), Atom("error"), ["gone"]])
        crash = (await records.next()).getMessage()
        assert "crasher:" in crash
        assert "gone" in crash


async def test_a_beam_logs_what_python_does(pair: Cluster) -> None:
    await pair.eval(
        "Tell = fun(#{meta := #{logger := _}} = Event, To) -> To ! {logged, Event}, stop;"
        "          (Event, _) -> Event end,"
        "ok = logger:add_primary_filter(python, {Tell, self()})"
    )
    await pair.node.connect(pair.beam_name)
    logger, handler = logging.getLogger("models"), LoggerHandler(pair.node, pair.beam_name)
    logger.addHandler(handler)
    try:
        logger.error("%s is missing", "zwölf")
    finally:
        logger.removeHandler(handler)
    got = await pair.eval(
        "receive {logged, #{level := Level, msg := {string, Text}, meta := Meta}} ->"
        " #{pid := Pid, mfa := Mfa, file := File, logger := Logger, time := Time} = Meta,"
        ' {Level, Text =:= <<"zwölf is missing"/utf8>>, node(Pid) =:= PY, element(2, Mfa),'
        " filename:basename(File),"
        "  Logger, maps:is_key(domain, Meta), abs(Time - os:system_time(microsecond)) < 60000000} end"
    )
    assert got == (
        '{error,true,true,test_a_beam_logs_what_python_does,"test_logger_beam.py",<<"models">>,false,true}'
    )


async def test_a_stock_beam_prints_what_python_logs(pair: Cluster) -> None:
    """Also records of quicdist's own loggers; its primary level is ``notice``."""
    await watch_printed(pair.beam)
    await pair.node.connect(pair.beam_name)
    handler = LoggerHandler(pair.node, pair.beam_name)
    handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
    names = ("models.loading", "quicdist.node")
    for name in names:
        logging.getLogger(name).addHandler(handler)
    try:
        logging.getLogger("models.loading").info("not this")
        logging.getLogger("models.loading").warning("3 weights are missing")
        logging.getLogger("quicdist.node").error("zwölf")
    finally:
        for name in names:
            logging.getLogger(name).removeHandler(handler)
    first, second = [await printed(pair.beam) for _ in range(2)]
    assert first.startswith("=WARNING REPORT====")
    assert first.endswith("===\nmodels.loading: 3 weights are missing\n")
    assert second.startswith("=ERROR REPORT====")
    assert second.endswith("===\nquicdist.node: zwölf\n")
