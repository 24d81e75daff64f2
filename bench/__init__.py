"""Benchmarks: each prints a table, its figures as ratios to something measured in the same run."""
