"""Node failures over days: checkpoints, restarts, spare nodes, and the goodput that is left. Docs: docs/failures.md."""
