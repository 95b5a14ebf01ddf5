"""The study of an automatic rate for every algorithm: docs/results/automatic_plan.md."""
