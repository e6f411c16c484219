"""Reads the configuration files of a cluster, ``sys.config`` and ``vm.args``."""

from typing import TYPE_CHECKING

from quicdist.config.config import Config, Source
from quicdist.config.errors import ConfigError, Unsupported
from quicdist.config.precedence import as_config, first

if TYPE_CHECKING:
    from quicdist.config.reader import read_config
else:
    from quicdist.lazy import lazy_names

    # It has the readers of all options.
    __getattr__, __dir__ = lazy_names(__name__, {"quicdist.config.reader": "read_config"})

__all__ = ["Config", "ConfigError", "Source", "Unsupported", "as_config", "first", "read_config"]
