"""Mixed traffic between Python nodes and BEAMs, for a minute or for hours: ``python -m tests.soak``."""
