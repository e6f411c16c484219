"""A Python program as a node of an Erlang or Elixir cluster, over QUIC, TCP or TLS.

Public is what the ``__all__`` of this package and of its packages ``carrier``, ``cli``, ``config``,
``discovery``, ``gateway``, ``node``, ``otp``, ``protocol``, ``sync`` and ``term`` names. All other modules
are internal and may change in any release.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from quicdist.carrier import (
        AuthenticationRefused,
        AuthPeer,
        CarrierError,
        CertificateError,
        CertificateRefused,
        ConnectOptions,
        ExternalPsk,
        IncompleteStream,
        LinkLost,
        ListenError,
        PeerUnreachable,
        PskRefused,
        SendBufferFull,
        SetupTimeout,
        StreamError,
        StreamLost,
        StreamRefused,
        StreamReset,
        StreamsNotSupported,
        UserStream,
        make_development_certificates,
    )
    from quicdist.config import Config, ConfigError, read_config
    from quicdist.discovery import DiscoveryError, NodeNameTaken, NodeNotFound
    from quicdist.errors import QuicDistError
    from quicdist.node import (
        ANY,
        AnyOf,
        CookieError,
        NameRegistered,
        NetTickTimeout,
        NodeDown,
        NodeError,
        NodeNotStarted,
        NodeUp,
        NoSuchProcess,
        NotConnected,
        Process,
        ProcessEnded,
        ProcessExit,
        SpawnError,
        run,
    )
    from quicdist.otp import (
        HIBERNATE,
        IGNORE,
        NO_REPLY,
        POSTPONE,
        Call,
        CallingSelf,
        CallTimeout,
        ChildSpec,
        Continue,
        Event,
        EventHandler,
        EventTimeout,
        GenericTimeout,
        GenEvent,
        GenServer,
        GenStatem,
        Global,
        KeepState,
        LoggerHandler,
        NextEvent,
        NextState,
        Node,
        NoReply,
        RemoteError,
        RemoveHandler,
        RepeatState,
        Reply,
        Request,
        StateTimeout,
        Stop,
        Supervisor,
        SwapHandler,
        TaskSupervisor,
        Via,
        current_call,
        state_function,
    )
    from quicdist.protocol import NotAllowed, WrongCookie
    from quicdist.term import (
        Atom,
        BitString,
        DecodeError,
        EncodeError,
        Export,
        Fun,
        ImproperList,
        Map,
        ParseError,
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
        to_python,
    )
else:
    from quicdist.lazy import lazy_names

    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "quicdist.carrier": """
                AuthenticationRefused AuthPeer CarrierError CertificateError CertificateRefused
                ConnectOptions ExternalPsk IncompleteStream LinkLost ListenError PeerUnreachable
                PskRefused SendBufferFull SetupTimeout StreamError StreamLost
                StreamRefused StreamReset StreamsNotSupported UserStream make_development_certificates
            """,
            "quicdist.config": "Config ConfigError read_config",
            "quicdist.discovery": "DiscoveryError NodeNameTaken NodeNotFound",
            "quicdist.errors": "QuicDistError",
            "quicdist.node": """
                ANY AnyOf CookieError NameRegistered NetTickTimeout NodeDown NodeError NodeNotStarted
                NodeUp NoSuchProcess NotConnected Process ProcessEnded ProcessExit
                SpawnError run
            """,
            "quicdist.otp": """
                Call CallTimeout CallingSelf ChildSpec Continue Event EventHandler EventTimeout GenEvent
                GenServer GenStatem GenericTimeout Global HIBERNATE IGNORE KeepState LoggerHandler
                NO_REPLY NextEvent NextState NoReply Node POSTPONE RemoteError RemoveHandler RepeatState
                Reply Request StateTimeout Stop Supervisor SwapHandler TaskSupervisor Via current_call
                state_function
            """,
            "quicdist.protocol": "NotAllowed WrongCookie",
            "quicdist.term": """
                Atom BitString DecodeError EncodeError Export Fun ImproperList Map ParseError Pid Port
                Record Reference Term TermError binary_to_term format_term parse_term term_to_binary
                to_python
            """,
        },
        submodules=["carrier", "config", "discovery", "errors", "logs", "node", "otp", "protocol", "term"],
    )

__version__ = "0.1.0"

__all__ = [
    "ANY",
    "HIBERNATE",
    "IGNORE",
    "NO_REPLY",
    "POSTPONE",
    "AnyOf",
    "Atom",
    "AuthPeer",
    "AuthenticationRefused",
    "BitString",
    "Call",
    "CallTimeout",
    "CallingSelf",
    "CarrierError",
    "CertificateError",
    "CertificateRefused",
    "ChildSpec",
    "Config",
    "ConfigError",
    "ConnectOptions",
    "Continue",
    "CookieError",
    "DecodeError",
    "DiscoveryError",
    "EncodeError",
    "Event",
    "EventHandler",
    "EventTimeout",
    "Export",
    "ExternalPsk",
    "Fun",
    "GenEvent",
    "GenServer",
    "GenStatem",
    "GenericTimeout",
    "Global",
    "ImproperList",
    "IncompleteStream",
    "KeepState",
    "LinkLost",
    "ListenError",
    "LoggerHandler",
    "Map",
    "NameRegistered",
    "NetTickTimeout",
    "NextEvent",
    "NextState",
    "NoReply",
    "NoSuchProcess",
    "Node",
    "NodeDown",
    "NodeError",
    "NodeNameTaken",
    "NodeNotFound",
    "NodeNotStarted",
    "NodeUp",
    "NotAllowed",
    "NotConnected",
    "ParseError",
    "PeerUnreachable",
    "Pid",
    "Port",
    "Process",
    "ProcessEnded",
    "ProcessExit",
    "PskRefused",
    "QuicDistError",
    "Record",
    "Reference",
    "RemoteError",
    "RemoveHandler",
    "RepeatState",
    "Reply",
    "Request",
    "SendBufferFull",
    "SetupTimeout",
    "SpawnError",
    "StateTimeout",
    "Stop",
    "StreamError",
    "StreamLost",
    "StreamRefused",
    "StreamReset",
    "StreamsNotSupported",
    "Supervisor",
    "SwapHandler",
    "TaskSupervisor",
    "Term",
    "TermError",
    "UserStream",
    "Via",
    "WrongCookie",
    "binary_to_term",
    "current_call",
    "format_term",
    "make_development_certificates",
    "parse_term",
    "read_config",
    "run",
    "state_function",
    "term_to_binary",
    "to_python",
]
