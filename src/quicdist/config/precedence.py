"""A configuration as a program gives it, and what goes before what."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from quicdist.config.config import Config
from quicdist.config.errors import ConfigError
from quicdist.config.reader import Source, read_config


def as_config(
    config: Config | Source | Sequence[Source] | None = None, vm_args: Source | None = None
) -> Config:
    """What has been read already, or what is read now; without files, nothing is said.

    Raises :class:`ConfigError`.
    """
    if not isinstance(config, Config):
        return read_config(config, vm_args)
    if vm_args is not None:
        raise ConfigError("vm_args", "the config has been read already: pass vm_args to read_config")
    return config


def first(*given: Any) -> Any:
    """The first that is not None: what a program says goes before its files, these before defaults."""
    return next((value for value in given if value is not None), None)
