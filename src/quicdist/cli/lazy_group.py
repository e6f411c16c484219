"""A group of commands whose modules are loaded when they are used."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping
from typing import Any

import click


class LazyGroup(click.Group):
    """``commands`` has the short help of each command, by name. The command ``x`` is the function ``x`` of
    the module ``package.x``."""

    def __init__(
        self, *args: Any, package: str = "", lazy: Mapping[str, str] | None = None, **more: Any
    ) -> None:
        super().__init__(*args, **more)
        self.package = package
        self.lazy = dict(lazy or {})

    def main(self, *args: Any, **more: Any) -> Any:
        """Run the command. What the operating system refuses, such as a full disk, is an error in words."""
        _open_standard_streams()
        try:
            return super().main(*args, **more)
        except OSError as error:
            if error.errno is None:  # a defect: a TimeoutError
                raise
            from quicdist.cli.session import fail

            fail(error)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*self.lazy, *super().list_commands(ctx)})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.lazy:
            return super().get_command(ctx, cmd_name)
        command = getattr(importlib.import_module(f"{self.package}.{cmd_name}"), cmd_name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, without loading them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, self.lazy[name]) for name in sorted(self.lazy)])


def _open_standard_streams() -> None:
    """Take the null device for each standard stream that the command was started without: a socket of the
    node would get its number."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.open(os.devnull, os.O_RDWR), mode, encoding="utf-8"))  # noqa: SIM115
