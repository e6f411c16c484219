"""The benchmark, ``python -m benchmarks``, and what takes the time, ``python -m benchmarks.profile``.

Every row is a ratio of two measurements taken in turn, in one run, on one machine: docs/benchmarks.md.
"""
