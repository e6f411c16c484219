"""The benchmark, ``python -m benchmarks``, and CPU profiles, ``python -m benchmarks.profile``.

Every row is a ratio of two alternating measurements, in one run, on one machine:
docs/explanation/benchmarks.md.
"""
