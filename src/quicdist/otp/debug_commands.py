"""The debug commands of ``sys``: ``{debug, What}``.

OTP: ``sys(3)``: ``trace``, ``log``, ``log_to_file``, ``statistics``, ``install``, ``remove``, ``no_debug``.

Only a request of this node can carry a Python function or an open file. A file that another node names is
opened in the directory that the program allows, or refused as one that cannot be opened. A fun of another
node has its code there: it is called there for each event, without the server waiting.
"""

from __future__ import annotations

import io
from typing import Any

from quicdist.logs import RateLimit, get_logger
from quicdist.otp.debug_options import (
    INSTALL,
    LOG,
    LOG_TO_FILE,
    STATISTICS,
    TRACE,
    DebugOption,
    DebugOptions,
    EventLog,
    Installed,
    LogFile,
    Statistics,
    Trace,
    open_in,
)
from quicdist.otp.io_server import characters
from quicdist.otp.output import Output
from quicdist.otp.remote_debug import RemoteInstalled
from quicdist.otp.server_lifecycle import ServerLifecycle
from quicdist.term import Atom, Export, Fun, term_to_binary
from quicdist.term.shorten import shorten

log = get_logger("quicdist.otp")

_OK, _ERROR = Atom("ok"), Atom("error")
_GET, _PRINT = Atom("get"), Atom("print")
_REMOVE, _NO_DEBUG = Atom("remove"), Atom("no_debug")
_OPEN_FILE, _SYSTEM_LIMIT = Atom("open_file"), Atom("system_limit")
_NO_STATISTICS, _UNKNOWN_DEBUG = Atom("no_statistics"), Atom("unknown_debug")

#: Bytes of a fun that is kept as a key.
_MAX_FUN = 64 * 1024

_refusals = RateLimit()


def output_of(process: ServerLifecycle) -> Output:
    """The output of a server to its group leader."""
    output: Output = process.node._services.outputs.of(process.group_leader)
    return output


def is_harmless(what: Any) -> bool:
    """Whether a command neither installs code nor opens a file."""
    return not (isinstance(what, tuple) and what and what[0] in (INSTALL, LOG_TO_FILE))


def command(process: ServerLifecycle, asking: str, what: Any) -> Any:
    """Do a command of the node ``asking``; the answer."""
    debug = process.debug or DebugOptions(process, lambda: output_of(process), process.server.behaviour)
    answer = _command(process, debug, asking, what)
    process.debug = debug if debug and process.alive else None
    return answer


def _command(process: ServerLifecycle, debug: DebugOptions, asking: str, what: Any) -> Any:
    match what:
        case Atom() if what == _NO_DEBUG:
            debug.clear()
            return _OK
        case (Atom() as name, bool() as on) if name == TRACE:
            return _switch(debug, TRACE, Trace() if on else None)
        case (Atom() as name, bool() as on) if name == STATISTICS:
            return _switch(debug, STATISTICS, Statistics() if on else None)
        case (Atom() as name, Atom() as flag) if name == STATISTICS and flag == _GET:
            option = debug.find(STATISTICS)
            return (_OK, option.report() if isinstance(option, Statistics) else _NO_STATISTICS)
        case (Atom() as name, flag) if name == LOG:
            return _log(debug, flag)
        case (Atom() as name, file) if name == LOG_TO_FILE:
            debug.remove(LOG_TO_FILE)
            return _OK if file is False else _log_to_file(process, debug, asking, file)
        case (Atom() as name, (function, state)) if name == INSTALL:
            return _install(process, debug, asking, function, function, state)
        case (Atom() as name, (key, function, state)) if name == INSTALL:
            return _install(process, debug, asking, key, function, state)
        case (Atom() as name, key) if name == _REMOVE:
            debug.remove(_kept(key))
            return _OK
    return _UNKNOWN_DEBUG


def _switch(debug: DebugOptions, key: Atom, option: DebugOption | None) -> Any:
    if option is None:
        debug.remove(key)
        return _OK
    return _OK if debug.install(option) else (_ERROR, _SYSTEM_LIMIT)


def _log(debug: DebugOptions, flag: Any) -> Any:
    match flag:
        case bool():
            return _switch(debug, LOG, EventLog() if flag else None)
        case (True, int() as size) if size > 0:
            return _switch(debug, LOG, EventLog(size))
        case Atom() if flag == _GET:
            return (_OK, debug.events)
        case Atom() if flag == _PRINT:
            for event in debug.events:
                debug.print(event)
            return _OK
    return _UNKNOWN_DEBUG


def _log_to_file(process: ServerLifecycle, debug: DebugOptions, asking: str, file: Any) -> Any:
    if isinstance(file, io.TextIOWrapper):  # opened by a process of this node
        return _switch(debug, LOG_TO_FILE, LogFile(file))
    directory = process.node.sys.log_directory
    name = file.name if isinstance(file, Atom) else None
    if isinstance(file, list | bytes | str):
        name = characters(file)
    try:
        if directory is None:
            raise OSError("node.sys.log_directory is not set")
        opened = open_in(directory, name or "")
    except (OSError, ValueError) as error:
        note = _refusals.admit(asking)
        if note is not None:
            what = f"{asking} asks for a log file of {process!r}: refused"
            log.warning("%s: %s%s", what, error, note)
        return (_ERROR, _OPEN_FILE)
    return _switch(debug, LOG_TO_FILE, LogFile(opened))


def _kept(key: Any) -> Any:
    """The key of a function as it is kept: of a bounded size."""
    small_fun = isinstance(key, Fun) and len(term_to_binary(key)) <= _MAX_FUN
    return key if callable(key) or small_fun else shorten(key)


def _install(
    process: ServerLifecycle, debug: DebugOptions, asking: str, key: Any, function: Any, state: Any
) -> Any:
    option: DebugOption
    key = _kept(key)
    if callable(function):
        option = Installed(key, function, state)
    elif isinstance(function, Export):
        export = process.node.sys.exports.find(function.module.name, function.function.name, 3)
        if export is not None and not export.blocking:
            option = Installed(key, export.function, state)
        else:
            option = Installed(key, None, None, function)
    elif isinstance(function, Fun) and asking != process.runtime.name:
        option = RemoteInstalled(key, process.node.erpc.call, asking, function, shorten(state))
    else:
        option = Installed(key, None, None, shorten(function))
    return _OK if debug.install(option) else (_ERROR, _SYSTEM_LIMIT)
