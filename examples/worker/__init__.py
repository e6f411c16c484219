"""A worker of a cluster."""
