"""Nodes in network namespaces, with addresses that really change."""
