"""A cluster's own configuration, ``sys.config`` and ``vm.args``, read as it stands."""

from quicdist.node.config.config import Config
from quicdist.node.config.errors import ConfigError, Unsupported
from quicdist.node.config.given import as_config, first
from quicdist.node.config.reading import Source, read_config

__all__ = ["Config", "ConfigError", "Source", "Unsupported", "as_config", "first", "read_config"]
