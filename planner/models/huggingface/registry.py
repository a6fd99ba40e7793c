"""All supported architectures."""

from __future__ import annotations

from planner.models.huggingface import deepseek, encoders, experts, gemma, gpt, llama, state_space
from planner.models.huggingface.architecture import Architecture

ARCHITECTURES: tuple[Architecture, ...] = (
    *llama.ARCHITECTURES,
    *gemma.ARCHITECTURES,
    *experts.ARCHITECTURES,
    *deepseek.ARCHITECTURES,
    *gpt.ARCHITECTURES,
    *encoders.ARCHITECTURES,
    *state_space.ARCHITECTURES,
)
