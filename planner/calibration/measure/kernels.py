"""The kernels and blocks of the grid as calls of PyTorch. Imported by the measuring processes only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from planner.calibration.measure.grid import Point
from planner.calibration.measure.shapes import block_job, fields_of

Call = Callable[[], Any]

DTYPES = {
    "fp32": torch.float32,
    "tf32": torch.float32,
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
    "fp8": torch.float8_e4m3fn,
}


def call_of(point: Point, device: str) -> Call:
    """What one measured call of a point does."""
    kind, sizes = str(point["kind"]), fields_of(point)
    dtype = DTYPES[str(point["precision"])]
    if device.startswith("cuda"):
        torch.backends.cuda.matmul.allow_tf32 = point["precision"] == "tf32"
    if kind == "matmul":
        return _matmul(sizes["m"], sizes["n"], sizes["k"], device, dtype)
    if kind == "attention":
        return _attention(sizes, str(point["direction"]), device, dtype)
    if kind == "block":
        return _block(point, device)
    return _memory_bound(kind, sizes["elements"], device, dtype)


def _matmul(m: int, n: int, k: int, device: str, dtype: torch.dtype) -> Call:
    left, right = torch.randn(m, k, device=device), torch.randn(n, k, device=device)
    if dtype is torch.float8_e4m3fn:
        one = torch.ones((), device=device)
        a, b = left.to(dtype), right.to(dtype)
        return lambda: torch._scaled_mm(a, b.t(), one, one, out_dtype=torch.bfloat16)
    a, b = left.to(dtype), right.to(dtype)
    return lambda: functional.linear(a, b)


def _attention(sizes: dict[str, int], direction: str, device: str, dtype: torch.dtype) -> Call:
    shape = (sizes["batch"], sizes["heads"], sizes["length"], sizes["width"])
    backward = direction == "backward"
    query, key, value = (
        torch.randn(shape, device=device, dtype=dtype, requires_grad=backward) for _ in range(3)
    )

    def forward() -> Tensor:
        return functional.scaled_dot_product_attention(query, key, value, is_causal=True)

    if not backward:
        return forward
    out = forward()
    seed = torch.randn_like(out)
    return lambda: torch.autograd.grad(out, (query, key, value), seed, retain_graph=True)


def _memory_bound(kind: str, elements: int, device: str, dtype: torch.dtype) -> Call:
    width = min(elements, 1024)
    x, y = (torch.randn(elements // width, width, device=device).to(dtype) for _ in range(2))
    if kind == "norm":
        weight = torch.ones(width, device=device, dtype=dtype)
        return lambda: functional.rms_norm(x, (width,), weight)
    if kind == "activation":
        return lambda: functional.silu(x)
    if kind == "add":
        return lambda: x + y
    if kind == "copy":
        return lambda: y.copy_(x)
    parameter = torch.nn.Parameter(x.float())
    parameter.grad = y.float()
    return torch.optim.AdamW([parameter], foreach=True).step


def _block(point: Point, device: str) -> Call:
    """Forward and backward of a small decoder of the reference trainer, gradients dropped before."""
    from planner.layouts.layout import Layout
    from planner.validation.trainer.batches import micro_batches
    from planner.validation.trainer.groups import single_process
    from planner.validation.trainer.initial import fill
    from planner.validation.trainer.model.stage import whole_model
    from planner.validation.trainer.settings import settings_of

    job = block_job(point, "cpu-loopback" if device == "cpu" else "h100-superpod")
    settings = settings_of(job, Layout(micro_batch=fields_of(point)["batch"]), device=device.split(":")[0])
    groups = single_process()
    model = whole_model(settings, groups).to_empty(device=device)
    fill(model, groups, 0)
    batch = micro_batches(settings, groups, 0)[0]
    tokens, labels = batch.tokens.to(device), batch.labels.to(device)
    kind, low = device.split(":")[0], settings.compute_dtype
    mixed = settings.parameter_dtype != low

    def step() -> None:
        model.zero_grad(set_to_none=True)
        with torch.autocast(kind, getattr(torch, low), enabled=mixed):
            loss = model.loss(model(tokens), labels)
        loss.backward()  # type: ignore[no-untyped-call]

    return step
