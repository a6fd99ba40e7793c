"""The reference trainer: a plain transformer in PyTorch that runs the layouts of plan files under torchrun.

Only the modules that compute import torch; ``settings`` and ``refusals`` do not.
"""
