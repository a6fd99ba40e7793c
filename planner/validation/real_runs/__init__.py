"""Real torch.distributed runs of layouts, against one process and against the prediction."""
