"""Output of nccl-tests and rccl-tests, as people paste it, to points and constants of links."""
