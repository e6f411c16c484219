"""What ties a process to others: its links, monitors and aliases."""

from __future__ import annotations

from quicdist.term import Atom, Pid, Reference


class Bonds:
    """The ties of one process; it has these only from the first tie on."""

    __slots__ = ("aliases", "links", "monitored_by", "monitors", "unlinking")

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
