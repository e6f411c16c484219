"""A model that BEAMs call."""
