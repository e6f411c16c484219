"""The tutorials, walked as a reader would: ``python -m tests.tutorials``."""
