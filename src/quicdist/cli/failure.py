"""Why a command failed, where that is no error of the library."""

from __future__ import annotations


class CommandFailed(Exception):
    """Ends the command with its text and status 1."""
