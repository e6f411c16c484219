"""The ``quicdist`` command, and its options for programs of your own that join a cluster."""

from typing import TYPE_CHECKING

from quicdist import dependencies

dependencies.check("click")

from quicdist.cli.main import main
from quicdist.cli.options import make_node, node_options

if TYPE_CHECKING:
    from quicdist.cli.stack import stack_lines
else:
    from quicdist.lazy import lazy_names

    __getattr__, __dir__ = lazy_names(__name__, {"quicdist.cli.stack": "stack_lines"})

__all__ = ["main", "make_node", "node_options", "stack_lines"]
