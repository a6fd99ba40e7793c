"""Data parallelism of the reference trainer: replicas, ZeRO 0-3 and HSDP."""
