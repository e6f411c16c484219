"""The links, monitors, aliases and timers of one process: data, which
:mod:`~quicdist.node.process_links`, :mod:`~quicdist.node.monitors` and :mod:`~quicdist.node.timers` keep."""

from __future__ import annotations

from typing import Literal

from quicdist.term import Atom, Pid, Reference

#: When the alias made together with a monitor is deactivated: by ``unalias`` only; with the
#: monitor; or with the monitor, which goes with the first message that comes by the alias.
MonitorAlias = Literal["explicit_unalias", "demonitor", "reply_demonitor"]
MONITOR_ALIASES: tuple[MonitorAlias, ...] = ("explicit_unalias", "demonitor", "reply_demonitor")


class ProcessRelations:
    """What one process is linked to and monitors, its aliases, and the timers that send to it. A process
    has this from its first link, monitor, alias or timer on."""

    __slots__ = ("aliases", "links", "monitored_by", "monitors", "timers", "unlinking")

    def __init__(self) -> None:
        #: The active links, and whether the exit signal of each is a priority message here.
        self.links: dict[Pid, bool] = {}
        #: Links this process has removed and whose UNLINK_ID_ACK has not come: the unlink ids.
        self.unlinking: dict[Pid, int] = {}
        #: The monitors it holds.
        self.monitors: dict[Reference, None] = {}
        #: Who monitors it: by reference the watcher, and the pid or name it watches.
        self.monitored_by: dict[Reference, tuple[Pid, Pid | Atom]] = {}
        self.aliases: dict[Reference, None] = {}
        #: The timers that will send to its pid.
        self.timers: dict[Reference, None] = {}
