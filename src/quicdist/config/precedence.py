"""Options of the program take precedence over configuration files, these over defaults."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from quicdist.config.config import Config, Source
from quicdist.config.errors import ConfigError


def as_config(
    config: Config | Source | Sequence[Source] | None = None, vm_args: Source | None = None
) -> Config:
    """``config`` itself if it has been read already, else what :func:`read_config` returns.

    Raises :class:`ConfigError`.
    """
    if config is None and vm_args is None:
        return Config()
    if not isinstance(config, Config):
        # Imported here: it has the readers of all options, and many nodes have no file.
        from quicdist.config.reader import read_config

        return read_config(config, vm_args)
    if vm_args is not None:
        raise ConfigError("vm_args", "the config has been read already: pass vm_args to read_config")
    return config


def first(*values: Any) -> Any:
    """The first value that is not None, in order of precedence; None if all are."""
    return next((value for value in values if value is not None), None)
