"""How a release of DeepSpeed moves the parameters and gradients of its ZeRO stage 3."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class StageThree(BaseModel):
    """What stage 3 does besides one gather and one scatter of each layer; defaults as DeepSpeed's configuration has them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    reuse_elements: float = Field(
        1e9,
        description="parameters are let go after recompute where so many elements are used before their own backward "
        "(stage3_max_reuse_distance)",
    )
    scatter_passes: float = Field(
        6.0,
        description="reads and writes of the gradients before they are scattered: into the bucket, rank by rank, divided "
        "(reduce_scatter_coalesced of deepspeed.runtime.comm)",
    )
    secondary_again: bool = Field(
        True,
        description="what recompute gathers comes from the secondary shards of hpZ, as what backward gathers does; "
        "else from all ranks",
    )
    by_tensor: ByTensor | None = Field(
        None, description="one collective for each tensor; None: for each layer"
    )


class ByTensor(BaseModel):
    """Each tensor has collectives of its own, over lists of as many parts as there are ranks."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    persistent_elements: float = Field(
        1e5,
        description="smaller tensors stay whole until they are updated (stage3_param_persistence_threshold)",
    )
    rank_s: float = Field(
        10e-6, description="host time for the part of each rank: views of it and the launch of its copy"
    )
    gather_passes: float = Field(
        3.0,
        description="passes over gathered parameters: the result is zeroed, read from a buffer and written",
    )


StageThree.model_rebuild()
