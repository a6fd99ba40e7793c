"""Expert parallelism of the reference trainer: routed rows to the ranks of their experts and back, no row dropped."""
