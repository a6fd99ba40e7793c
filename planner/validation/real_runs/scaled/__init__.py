"""A plan too large for this machine as a copy that is small enough and cut along the same axes."""
