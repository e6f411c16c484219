"""A Python program as a node of an Erlang or Elixir cluster, over QUIC."""

from quicdist.carrier.certificates import make_development_certificates
from quicdist.errors import QuicDistError
from quicdist.node import (
    ANY,
    CookieError,
    NameRegistered,
    NodeDown,
    NodeError,
    NodeUp,
    NoSuchProcess,
    NotConnected,
    Process,
    ProcessExit,
)
from quicdist.otp import NO_REPLY, CallTimeout, GenServer, Node, RemoteError
from quicdist.term import (
    Atom,
    BitString,
    Export,
    Fun,
    ImproperList,
    Map,
    Pid,
    Port,
    Record,
    Reference,
    Term,
    TermError,
    binary_to_term,
    format_term,
    parse_term,
    term_to_binary,
)

__version__ = "0.1.0"

__all__ = [
    "ANY",
    "NO_REPLY",
    "Atom",
    "BitString",
    "CallTimeout",
    "CookieError",
    "Export",
    "Fun",
    "GenServer",
    "ImproperList",
    "Map",
    "NameRegistered",
    "NoSuchProcess",
    "Node",
    "NodeDown",
    "NodeError",
    "NodeUp",
    "NotConnected",
    "Pid",
    "Port",
    "Process",
    "ProcessExit",
    "QuicDistError",
    "Record",
    "Reference",
    "RemoteError",
    "Term",
    "TermError",
    "binary_to_term",
    "format_term",
    "make_development_certificates",
    "parse_term",
    "term_to_binary",
]
