"""Event simulation of one training step, and of days of training with failures. Docs: docs/simulator.md."""
