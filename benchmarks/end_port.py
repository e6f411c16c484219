"""The program of an Erlang port with ``{packet, 4}``: the peer for echoes over TCP.

A packet is a term ``{From, Data}`` and the answer is ``Data``, with erlang_py as codec; with the argument
``bytes`` the answer is the packet itself.
"""

from __future__ import annotations

import sys

import erlang  # type: ignore[import-untyped]


def main() -> None:
    read, write, flush = sys.stdin.buffer.read, sys.stdout.buffer.write, sys.stdout.buffer.flush
    plain = sys.argv[1:] == ["bytes"]
    while header := read(4):
        packet = read(int.from_bytes(header, "big"))
        if not plain:
            _, data = erlang.binary_to_term(packet)
            packet = erlang.term_to_binary(data)
        write(len(packet).to_bytes(4, "big") + packet)
        flush()


if __name__ == "__main__":
    main()
