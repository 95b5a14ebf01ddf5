"""The study of docs/results: ``python -m benchmarks.study``."""
