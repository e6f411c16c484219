"""The root of every error that this package raises on purpose, and the tree of them.

A built-in exception in brackets is a second base: ``except TimeoutError`` catches
:class:`~quicdist.CallTimeout`. A failure without a class of its own is raised as the parent class, and the
text names the case. :class:`~quicdist.ProcessExit`, by which a process ends itself, is a signal, not an
error: it derives from :class:`BaseException`, outside this tree::

    QuicDistError: the base of all errors of this package
    ├── TermError (ValueError): a value has no Erlang term, or bytes or text do not hold one
    │   ├── DecodeError: bytes are not a term in the external term format, or exceed a limit
    │   ├── EncodeError: a Python value cannot be encoded as an Erlang term
    │   └── ParseError: text is not an Erlang term
    ├── ProtocolError: a peer broke the distribution protocol, or refused
    │   ├── FrameError: a message on an established connection is malformed
    │   ├── FrameTooLong: a frame or message is longer than the limit
    │   ├── HandshakeError: the distribution handshake failed
    │   │   ├── ConnectionAlive: the peer keeps the connection that it has under this name
    │   │   ├── HandshakeEnded: the peer closed the connection in the middle of the handshake
    │   │   ├── MalformedHandshake: a handshake message cannot be read, or is not due
    │   │   ├── MandatoryFlagsMissing: a node lacks a capability that the other one requires
    │   │   ├── NotAllowed: the peer does not allow this node to connect
    │   │   ├── SimultaneousConnect: both nodes dial each other, and the peer's dial is kept
    │   │   ├── WrongCookie: the two nodes have different cookies
    │   │   └── WrongNodeName: another node answered than the one that was dialled
    │   └── InvalidNodeName (ValueError): a name cannot be a node name
    ├── CarrierError: the transport between two nodes failed
    │   ├── AcceptError: an incoming connection did not become a link
    │   │   └── AcceptTimeout (TimeoutError): the dialling node did not finish the handshake in time
    │   ├── CertificateError: our certificate, key or CA file cannot be used
    │   ├── ConnectError (ConnectionError): a dial failed
    │   │   ├── AuthenticationRefused: the auth_callback of one side refused the other
    │   │   ├── CertificateRefused: one side did not accept the certificate of the other
    │   │   ├── PeerUnreachable: nothing listens at the address, or the network is unreachable
    │   │   ├── PskRefused: the pre-shared key is wrong or missing
    │   │   └── SetupTimeout (TimeoutError): the connection was not set up in time
    │   ├── LinkLost (ConnectionError): an established connection ended, or had ended when it was used
    │   │   ├── PeerClosed: the peer closed the connection
    │   │   └── PeerSilent: the peer sent nothing for too long
    │   ├── ListenError (OSError): a carrier cannot listen at an address
    │   ├── SendBufferFull: more waits to be sent to a node than the limit
    │   └── StreamError: an operation on a user stream failed
    │       ├── IncompleteStream (EOFError): a stream ended before the number of bytes asked for
    │       ├── StreamLimitReached: the peer allows no further stream at present
    │       ├── StreamLost: the connection of a stream ended
    │       ├── StreamReset: one side reset the stream
    │       │   └── StreamRefused: the peer accepts no streams of this node
    │       └── StreamsNotSupported: the carrier or the peer has no user streams
    ├── DiscoveryError: a node was not found, listed or registered
    │   ├── DnsError: the DNS did not answer
    │   ├── EpmdError: epmd refused a request or answered nonsense
    │   │   ├── EpmdTimeout (TimeoutError): epmd took a request and did not answer in time
    │   │   └── EpmdUnreachable: no epmd listens at that address
    │   ├── NodeNameTaken: another node of that name is registered
    │   └── NodeNotFound (LookupError): no address of a node is known
    ├── GatewayError: a gateway cannot start, or cannot carry a connection
    ├── BeamError: a BEAM of :mod:`quicdist.testing` did not start, or an expression failed on it
    ├── ConfigError (ValueError): a configuration file or flag cannot be used
    └── NodeError: an operation of a node or process failed
        ├── CallTimeout (TimeoutError): a call was not answered in time
        ├── CallingSelf: a process called itself
        ├── CookieError: the cookie is missing, unreadable or readable by others
        ├── NameRegistered (ValueError): the name is registered for another process
        ├── NetTickTimeout: a connected node sent nothing for the tick time
        ├── NoSuchProcess (LookupError): there is no such process on this node
        ├── NodeNotStarted (RuntimeError): the node is not running
        ├── NotConnected (ConnectionError): there is no connection to a node, and none can be made
        ├── NotSettled (TimeoutError): the nodes of a cluster were not connected in time
        ├── ProcessEnded: a process ended before it answered
        ├── RemoteError: a function called on another node did not return
        └── SpawnError: a process could not be spawned on another node

Wrong arguments are :class:`TypeError` and :class:`ValueError`, as everywhere in Python.
"""

from __future__ import annotations

from typing import Any


class QuicDistError(Exception):
    """The base of all errors of this package. The text says what failed, where, and with which node.

    Errors cross process pools: each is pickled as its text and attributes, whatever its
    constructor takes.
    """

    __module__ = "quicdist"

    def __init_subclass__(cls) -> None:
        # Tracebacks name the package that the class is imported from, not the module that defines it.
        root, package, *_ = (*cls.__module__.split("."), "")
        if root == "quicdist":
            cls.__module__ = f"{root}.{package}" if package else root

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickled, (type(self), self.args), self.__dict__


def _unpickled(kind: type[QuicDistError], args: tuple[Any, ...]) -> QuicDistError:
    error = kind.__new__(kind, *args)
    error.args = args
    return error
