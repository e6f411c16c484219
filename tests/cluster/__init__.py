"""Whole clusters: BEAMs of several releases and Python nodes that join, leave, die and are partitioned."""
