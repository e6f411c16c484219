"""``quicdist.sync``: a node for programs without an event loop."""
