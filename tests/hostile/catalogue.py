"""All attacks there are."""

from __future__ import annotations

from tests.hostile import (
    authenticated,
    datagrams,
    gateways,
    handshakes,
    names,
    outsiders,
    peers,
    rush,
    spoofed,
    tcp,
)
from tests.hostile.field import Attack

FAMILIES: dict[str, list[Attack]] = {
    "datagrams": datagrams.ATTACKS,
    "handshakes": handshakes.ATTACKS,
    "tcp": tcp.ATTACKS,
    "names": names.ATTACKS,
    "outsiders": outsiders.ATTACKS,
    "rush": rush.ATTACKS,
    "spoofed": spoofed.ATTACKS,
    "authenticated": authenticated.ATTACKS,
    "peers": peers.ATTACKS,
    "gateway": gateways.ATTACKS,
}
#: Rows of one variant one after another: each needs a victim of its own.
ATTACKS = [
    attack
    for _, attack in sorted(
        enumerate(attack for family in FAMILIES.values() for attack in family),
        key=lambda one: (one[1].variant, one[0]),
    )
]
