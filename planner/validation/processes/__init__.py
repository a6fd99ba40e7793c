"""Local processes of one job under torchrun: how they start, end, and tell what went wrong."""
