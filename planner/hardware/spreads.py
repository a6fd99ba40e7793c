"""How far predictions may be off, by what they rest on. Docs: docs/calibration.md."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Spread = Annotated[float, Field(ge=0, le=2)]


class Spreads(BaseModel):
    """Standard deviations of the logarithm of parts of a step: widths of the priors until a fit replaces them.

    A part of the step weighs by its share of it. ``_prior`` comes in addition where constants behind it were not fitted: of
    traffic the links' or the profile's.

    Args:
        compute, communication, host: kernels, exposed traffic, waiting for the host; optimizer, bubble: the update, and
            waiting for other ranks.
        framework_prior: of the whole step under a profile that was not fitted; ``experts``: with experts; ``source``: on a
            site whose own runs were not in the fit.
        unseen: of the whole step for each feature that no run in the fit used.
        layout: of the whole step of one layout against another of the same job, beyond what their shares explain.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    compute: Spread = 0.10
    compute_prior: Spread = 0.14
    communication: Spread = 0.25
    communication_prior: Spread = 0.17
    host: Spread = 0.40
    host_prior: Spread = 0.45
    optimizer: Spread = 0.40
    bubble: Spread = 0.15
    framework_prior: Spread = 0.05
    experts: Spread = 0.10
    source: Spread = 0.05
    unseen: Spread = 0.15
    layout: Spread = 0.03
