"""The reference trainer: a plain transformer in PyTorch that runs any layout of a plan file."""
