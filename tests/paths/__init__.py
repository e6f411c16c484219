"""What becomes of messages, calls and dials on every kind of path: ``python -m tests.paths``."""
