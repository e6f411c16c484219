"""A node killed and started again under its name, as another sees it: ``python -m tests.restarts``."""
