"""What `mkdocs build` adds to the pages of ``docs/``."""
