"""Benchmarks: each a command that prints its table and writes it into RESULTS.md."""
