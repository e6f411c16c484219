"""Reads the configuration files of a cluster, ``sys.config`` and ``vm.args``."""

from quicdist.config.config import Config
from quicdist.config.errors import ConfigError, Unsupported
from quicdist.config.precedence import as_config, first
from quicdist.config.reader import Source, read_config

__all__ = ["Config", "ConfigError", "Source", "Unsupported", "as_config", "first", "read_config"]
