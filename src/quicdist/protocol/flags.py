"""Distribution flags: the capabilities of a node, exchanged in the handshake.

Source: OTP's ``kernel/include/dist.hrl`` (OTP 25, 27 and 29) and ERTS User's Guide, *Distribution
Protocol*, *Distribution Flags*. The names are those of OTP without ``DFLAG_``.
"""

from __future__ import annotations

from enum import IntFlag


class DistFlag(IntFlag):
    """One capability, or several or:ed together. Bits without a name here are kept as they are."""

    PUBLISHED = 0x01
    ATOM_CACHE = 0x02
    EXTENDED_REFERENCES = 0x04
    DIST_MONITOR = 0x08
    FUN_TAGS = 0x10
    DIST_MONITOR_NAME = 0x20
    HIDDEN_ATOM_CACHE = 0x40
    NEW_FUN_TAGS = 0x80
    EXTENDED_PIDS_PORTS = 0x100
    EXPORT_PTR_TAG = 0x200
    BIT_BINARIES = 0x400
    NEW_FLOATS = 0x800
    UNICODE_IO = 0x1000
    DIST_HDR_ATOM_CACHE = 0x2000
    SMALL_ATOM_TAGS = 0x4000
    UTF8_ATOMS = 0x10000
    MAP_TAG = 0x20000
    BIG_CREATION = 0x40000
    SEND_SENDER = 0x80000
    BIG_SEQTRACE_LABELS = 0x100000
    EXIT_PAYLOAD = 0x400000
    FRAGMENTS = 0x800000
    HANDSHAKE_23 = 0x1000000
    UNLINK_ID = 0x2000000
    MANDATORY_25_DIGEST = 0x4000000
    SPAWN = 1 << 32
    NAME_ME = 1 << 33
    V4_NC = 1 << 34
    ALIAS = 1 << 35
    ALTACT_SIG = 1 << 37  # OTP 28
    NATIVE_RECORDS = 1 << 38  # OTP 29


#: The flags that OTP 25 made mandatory; MANDATORY_25_DIGEST stands for all of them.
MANDATORY_25 = (
    DistFlag.EXTENDED_REFERENCES
    | DistFlag.FUN_TAGS
    | DistFlag.EXTENDED_PIDS_PORTS
    | DistFlag.NEW_FUN_TAGS
    | DistFlag.EXPORT_PTR_TAG
    | DistFlag.BIT_BINARIES
    | DistFlag.NEW_FLOATS
    | DistFlag.UTF8_ATOMS
    | DistFlag.MAP_TAG
    | DistFlag.BIG_CREATION
    | DistFlag.HANDSHAKE_23
)
#: The further flags that OTP 26 made mandatory. OTP 25 offers both.
MANDATORY_26 = DistFlag.V4_NC | DistFlag.UNLINK_ID
#: The flags for monitors: OTP sends them to a peer that offers both.
MONITOR_FLAGS = DistFlag.DIST_MONITOR | DistFlag.DIST_MONITOR_NAME
#: The flags that a peer must offer.
MANDATORY = MANDATORY_25 | MANDATORY_26

#: The flags that a node offers by default: hidden (no PUBLISHED), and no DIST_HDR_ATOM_CACHE,
#: because an atom cache needs strict order over the whole connection, which parallel streams
#: do not give (``dist_util:strict_order_flags/0``).
DEFAULT_FLAGS = (
    MANDATORY
    | DistFlag.MANDATORY_25_DIGEST
    | DistFlag.DIST_MONITOR
    | DistFlag.DIST_MONITOR_NAME
    | DistFlag.UNICODE_IO
    | DistFlag.SMALL_ATOM_TAGS
    | DistFlag.SEND_SENDER
    | DistFlag.BIG_SEQTRACE_LABELS
    | DistFlag.EXIT_PAYLOAD
    | DistFlag.FRAGMENTS
    | DistFlag.SPAWN
    | DistFlag.ALIAS
    | DistFlag.ALTACT_SIG
    | DistFlag.NATIVE_RECORDS
)


def expand(flags: int) -> DistFlag:
    """``flags`` with MANDATORY_25_DIGEST spelled out (``dist_util:expand_mandatory_25_flag/1``)."""
    if flags & DistFlag.MANDATORY_25_DIGEST:
        return DistFlag(flags | MANDATORY_25)
    return DistFlag(flags)


def missing(flags: int, required: int = MANDATORY) -> DistFlag:
    """Those of ``required`` that a peer offering ``flags`` lacks; empty if it lacks none."""
    return DistFlag(required & ~expand(flags))
