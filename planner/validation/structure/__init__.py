"""Structure of real PyTorch programs traced on fake tensors, against predictions."""
