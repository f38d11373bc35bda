"""Benchmarks: the tables of docs/benchmarks.md, made again by ``make bench``."""
