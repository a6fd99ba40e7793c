"""Tensor parallelism in two conventions: Megatron-LM's explicit collectives, and PyTorch's DTensor."""
