"""``quicdist decode``."""

from __future__ import annotations

from typing import BinaryIO

import click

from quicdist.cli.options import json_option
from quicdist.cli.session import errors_end


@click.command()
@click.argument("source", metavar="[FILE]", type=click.File("rb"), default="-")
@click.option("--text", help="The bytes themselves, in hex or base64, in place of a file.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["auto", "bytes", "hex", "base64"]),
    default="auto",
    show_default=True,
    help="How the bytes are written. auto finds it out: a term begins with the byte 131.",
)
@click.option(
    "--frames",
    is_flag=True,
    help="The bytes are what one side of a TCP connection sends after the handshake.",
)
@json_option
def decode(source: BinaryIO, text: str | None, form: str, frames: bool, as_json: bool) -> None:
    """Decode external term format, as erlang:binary_to_term/1 does, and print the terms in Erlang's syntax.

    The bytes are read from FILE, or from standard input. There may be several terms, one after the other. A
    compressed term is decompressed. With --frames they are distribution frames, each with its length: each
    message is printed as its control message and its payload.
    """
    from quicdist.cli.decoding import decoded_frames, decoded_terms, raw_bytes

    data = raw_bytes(source.read() if text is None else text.encode(), form, frames=frames)
    with errors_end():
        for line in decoded_frames(data, as_json=as_json) if frames else decoded_terms(data, as_json=as_json):
            click.echo(line)
