"""What a decay brings, and when: ``python -m benchmarks.moments``."""
