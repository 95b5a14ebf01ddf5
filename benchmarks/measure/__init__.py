"""What the package costs, and how its rules and intervals are calibrated: ``python -m benchmarks.measure``."""
