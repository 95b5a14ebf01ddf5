"""Benchmarks: what the callback costs, what its rules decide, and what either is good for."""
