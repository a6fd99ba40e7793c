"""Jobs over the reference space on any number of devices: the published settings of the examples, without search options."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from planner.jobs.loader import load_job
from planner.jobs.types import Job

ROOT = Path(__file__).resolve().parent.parent

SETTINGS: dict[str, tuple[str, str]] = {
    "llama3-8b": ("llama3-8b-h100.yaml", "Llama 3 8B on H100"),
    "gpt3-175b": ("gpt3-175b-a100.yaml", "GPT-3 175B on A100"),
    "deepseek-v3": ("deepseek-v3-h800.yaml", "DeepSeek-V3 on H800"),
}
"""Model -> (example, title)."""

BATCH = 1536
"""Sequences per step of jobs whose own batch many device counts do not divide."""


def reference_job(model: str, devices: int) -> Job:
    """A model on so many devices: the example's cluster, enlarged where it has fewer nodes."""
    document: dict[str, Any] = yaml.safe_load((ROOT / "examples" / SETTINGS[model][0]).read_text())
    name = document["cluster"]
    cluster = yaml.safe_load((ROOT / "hardware_specs" / "clusters" / f"{name}.yaml").read_text())
    cluster["nodes"] = max(cluster["nodes"], -(-devices // cluster["devices_per_node"]))
    document.pop("search", None)
    document |= {"cluster": cluster, "devices": devices}
    if model == "llama3-8b":
        document["training"]["global_batch"] = BATCH
    return load_job(document)
