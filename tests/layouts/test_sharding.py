"""Derived communication against the textbook: collectives per layer and pass, bytes per call to the byte.

Expectations are written out by hand from Megatron-LM (arXiv 1909.08053, 2205.05198), DeepSpeed-Ulysses (2309.14509),
Ring Attention (2310.01889), GShard / Megatron Core MoE (2006.16668, 2504.14960). Sizes follow nccl-tests: the larger of a
rank's input and output buffer.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from planner.costs.block import price_block
from planner.jobs.types import Job
from planner.layouts.layout import Layout, Recompute
from planner.layouts.layouts import from_layouts

S, H, F, A, KV, D = 2048, 1024, 4096, 16, 4, 64  # sequence, hidden, ffn, heads, KV heads, head width
LLAMA = {
    "layers": 2,
    "hidden": H,
    "heads": A,
    "kv_heads": KV,
    "ffn_hidden": F,
    "gated_mlp": True,
    "activation": "silu",
    "vocab": 32000,
    "seq_len": S,
}
PARALLEL = LLAMA | {"parallel_block": True, "kv_heads": A, "gated_mlp": False, "activation": "gelu"}
MOE = LLAMA | {"moe": {"experts": 8, "topk": 2, "moe_ffn": 512}}
MLA = LLAMA | {
    "kv_heads": A,
    "mla": {
        "q_lora_rank": 256,
        "kv_lora_rank": 128,
        "qk_nope_head_dim": 64,
        "qk_rope_head_dim": 32,
        "v_head_dim": 64,
    },
}
T5 = {
    "family": "encoder_decoder",
    "layers": 2,
    "encoder": {"layers": 2},
    "hidden": H,
    "heads": A,
    "ffn_hidden": F,
    "vocab": 32000,
    "seq_len": S,
    "positions": "relative",
}

Row = tuple[str, str, str, int, int]
"""(pass, collective, axis, calls, bytes per call)"""


def exchanges(job: Job, layout: Layout, block: str, policy: Recompute | None = None) -> Counter[Row]:
    """Calls of one micro-batch of one block, by pass, collective, axis and size; weight-gradient sums left out."""
    row = from_layouts([layout])
    price = price_block(job.model.blocks[block], row, job, [policy or Recompute()])[0]
    found: Counter[Row] = Counter()
    for transfer, repeated in zip(price.transfers, price.repeated, strict=True):
        e = transfer.exchange
        if e.pass_ == "optimizer":
            continue
        calls, size = int(transfer.calls[0]), int(transfer.nbytes[0])
        found[(e.pass_, e.collective, transfer.axis, size)] += calls
        if repeated:
            found[("recompute", e.collective, transfer.axis, size)] += calls
    return found


def layer(job: Job, kind: str = "") -> str:
    return next(n for n in job.model.order if job.model.blocks[n].kind == "layer" and kind in n)


def B(batch: int, tokens: int, width: int, element: int = 2) -> int:
    return batch * tokens * width * element


STREAM = B(1, S, H)
CASES: dict[
    str, tuple[dict[str, Any], str, Layout, Recompute | None, dict[tuple[str, str, str, int], int]]
] = {}


Expected = dict[tuple[str, str, str, int], int]


def case(
    name: str,
    model: dict[str, Any],
    layout: Layout,
    expected: Expected,
    *,
    framework: str = "ideal",
    policy: Recompute | None = None,
) -> None:
    CASES[name] = (model, framework, layout, policy, expected)


def tp_sp(tp: int, batch: int = 1, cp: int = 1) -> dict[tuple[str, str, str, int], int]:
    size = B(batch, S // cp, H)
    return {
        ("forward", "all_gather", "tp", size): 2,
        ("forward", "reduce_scatter", "tp", size): 2,
        ("backward", "all_gather", "tp", size): 4,
        ("backward", "reduce_scatter", "tp", size): 2,
    }


for degree in (2, 4, 8, 16):
    case(f"llama tp{degree} sp", LLAMA, Layout(tp=degree, sp=True), tp_sp(degree))
case("llama tp4 sp micro-batch 3", LLAMA, Layout(tp=4, sp=True, micro_batch=3), tp_sp(4, 3))
case(
    "llama tp4 without sp: f and g of Megatron",
    LLAMA,
    Layout(tp=4),
    {("forward", "all_reduce", "tp", STREAM): 2, ("backward", "all_reduce", "tp", STREAM): 2},
)
case(
    "full recompute repeats the forward collectives",
    LLAMA,
    Layout(tp=4, sp=True),
    tp_sp(4)
    | {("recompute", "all_gather", "tp", STREAM): 2, ("recompute", "reduce_scatter", "tp", STREAM): 2},
    policy=Recompute("full"),
)
case(
    "recompute of the attention core repeats nothing under tp",
    LLAMA,
    Layout(tp=4, sp=True),
    tp_sp(4),
    policy=Recompute("selective", ("core_attention",)),
)
case(
    "full recompute that stops before the last matmul skips its reduction",
    LLAMA,
    Layout(tp=4, sp=True),
    {
        ("forward", "all_gather", "tp", STREAM): 2,
        ("forward", "reduce_scatter", "tp", STREAM): 2,
        ("backward", "all_gather", "tp", STREAM): 2,  # gathered inputs are kept, not gathered again
        ("backward", "reduce_scatter", "tp", STREAM): 2,
        ("recompute", "all_gather", "tp", STREAM): 2,
        ("recompute", "reduce_scatter", "tp", STREAM): 1,
        (
            "backward",
            "all_reduce",
            "tp",
            2 * H,
        ): 2,  # DTensor sums gradients of norms where they are made, in 16 bits
    },
    framework="torchtitan",
    policy=Recompute("full"),
)
case(
    "a policy over the whole layer keeps what reduce-scatters leave, not what is gathered",
    LLAMA,
    Layout(tp=4, sp=True),
    {
        ("forward", "all_gather", "tp", STREAM): 2,
        ("forward", "reduce_scatter", "tp", STREAM): 2,
        ("backward", "all_gather", "tp", STREAM): 2,
        ("backward", "reduce_scatter", "tp", STREAM): 2,
        ("recompute", "all_gather", "tp", STREAM): 2,
        ("backward", "all_reduce", "tp", 2 * H): 2,
    },
    framework="torchtitan",
    policy=Recompute("selective", ("norm", "activation", "router")),
)
case(
    "DTensor without an input hook: one backward all-reduce for each of q, k, v, gate and up",
    LLAMA,
    Layout(tp=4),
    {("forward", "all_reduce", "tp", STREAM): 2, ("backward", "all_reduce", "tp", STREAM): 5},
    framework="fsdp",
)
Q4, KV4 = B(1, S // 4, A * D), B(1, S // 4, KV * D)
ulysses = {("forward", "all_to_all", "cp", Q4): 2, ("forward", "all_to_all", "cp", KV4): 2}
ulysses |= {("backward", "all_to_all", "cp", Q4): 2, ("backward", "all_to_all", "cp", KV4): 2}
case("Ulysses 4: q, k, v, output each way", LLAMA, Layout(ulysses=4), ulysses)
case(
    "Ulysses 2 inside tp 2 with sp",
    LLAMA,
    Layout(tp=2, sp=True, ulysses=2),
    tp_sp(2, cp=2)
    | {(p, "all_to_all", "cp", B(1, S // 2, A * D // 2)): 2 for p in ("forward", "backward")}
    | {(p, "all_to_all", "cp", B(1, S // 2, KV * D // 2)): 2 for p in ("forward", "backward")},
)
BLOCK = 2 * B(1, S // 4, KV * D)  # K and V of one rank
case(
    "ring 4: K and V pass 3 hops forward and backward, their gradients 4 to come home",
    LLAMA,
    Layout(ring=4),
    {("forward", "send_recv", "cp", BLOCK): 3, ("backward", "send_recv", "cp", BLOCK): 3 + 4},
)
case(
    "ring 4 by all-gather of K and V",
    LLAMA,
    Layout(ring=4, cp_kind="allgather"),
    {
        ("forward", "all_gather", "cp", B(1, S, KV * D)): 2,
        ("backward", "all_gather", "cp", B(1, S, KV * D)): 2,
        ("backward", "reduce_scatter", "cp", B(1, S, KV * D)): 2,
    },
)
case(
    "2-D: Ulysses 2 inside ring 2",
    LLAMA,
    Layout(ulysses=2, ring=2),
    {
        ("forward", "all_to_all", "cp", B(1, S // 4, A * D)): 2,
        ("forward", "all_to_all", "cp", B(1, S // 4, KV * D)): 2,
        ("backward", "all_to_all", "cp", B(1, S // 4, A * D)): 2,
        ("backward", "all_to_all", "cp", B(1, S // 4, KV * D)): 2,
        ("forward", "send_recv", "cp", 2 * B(1, S // 2, KV * D // 2)): 1,
        ("backward", "send_recv", "cp", 2 * B(1, S // 2, KV * D // 2)): 1 + 2,
    },
)
case(
    "parallel block: attention and MLP share one gather and one reduction",
    PARALLEL,
    Layout(tp=4, sp=True),
    {
        ("forward", "all_gather", "tp", STREAM): 1,
        ("forward", "reduce_scatter", "tp", STREAM): 1,
        ("backward", "all_gather", "tp", STREAM): 1 + 1,
        ("backward", "reduce_scatter", "tp", STREAM): 1,
    },
)
case(
    "parallel block without sp: one all-reduce each way",
    PARALLEL,
    Layout(tp=4),
    {("forward", "all_reduce", "tp", STREAM): 1, ("backward", "all_reduce", "tp", STREAM): 1},
)
ROUTED = B(1, S, 2 * H)  # top-2
case(
    "expert parallel 8: dispatch and combine each way",
    MOE,
    Layout(dp=8, ep=8),
    {("forward", "all_to_all", "ep", ROUTED): 2, ("backward", "all_to_all", "ep", ROUTED): 2},
)
case(
    "expert parallel 4 over tp 2 with sp: each rank sends its share of the tokens",
    MOE,
    Layout(tp=2, sp=True, dp=2, ep=4),
    {
        ("forward", "all_gather", "tp", STREAM): 1,
        ("forward", "reduce_scatter", "tp", STREAM): 1,
        ("backward", "all_gather", "tp", STREAM): 2,
        ("backward", "reduce_scatter", "tp", STREAM): 1,
        ("forward", "all_to_all", "ep", ROUTED // 2): 2,
        ("backward", "all_to_all", "ep", ROUTED // 2): 2,
    },
)
case(
    "expert tensor parallel 2: the routed tokens are gathered and scattered once more",
    MOE,
    Layout(dp=8, ep=4, etp=2),
    {
        ("forward", "all_to_all", "ep", ROUTED): 2,
        ("backward", "all_to_all", "ep", ROUTED): 2,
        ("forward", "all_gather", "etp", 2 * ROUTED): 1,
        ("forward", "reduce_scatter", "etp", 2 * ROUTED): 1,
        ("backward", "all_gather", "etp", 2 * ROUTED): 1,
        ("backward", "reduce_scatter", "etp", 2 * ROUTED): 1,
    },
)
LATENTS = (B(1, S, 256), B(1, S, 128), B(1, S, 32))  # query latent, key/value latent, shared rotary key
case(
    "MLA tp4 sp: the latents are gathered, not the stream",
    MLA,
    Layout(tp=4, sp=True),
    {("forward", "all_gather", "tp", size): 1 for size in LATENTS}
    | {("forward", "all_gather", "tp", STREAM): 1, ("forward", "reduce_scatter", "tp", STREAM): 2}
    # the latents feed matmuls and are gathered again; the rotary key feeds none
    | {("backward", "all_gather", "tp", size): 1 for size in LATENTS[:2]}
    | {("backward", "all_gather", "tp", STREAM): 2 + 1}
    | {("backward", "reduce_scatter", "tp", size): 1 for size in LATENTS}
    | {("backward", "reduce_scatter", "tp", STREAM): 1},
)
case(
    "more tp ranks than KV heads: the same calls, the sizes of the stream do not change",
    LLAMA,
    Layout(tp=8, sp=True),
    tp_sp(8),
)


@pytest.mark.parametrize("name", CASES)
def test_layer_communication_is_the_textbook(name: str, make_job: Any) -> None:
    model, framework, layout, policy, expected = CASES[name]
    job = make_job(model, devices=64, seq_len=S, framework=framework)
    assert dict(exchanges(job, layout, layer(job), policy)) == expected


def test_decoder_gathers_the_encoder_output_in_every_layer(make_job: Any) -> None:
    """Cross-attention under tp + sp: K and V read the gathered encoder output; its gradient is scattered back."""
    job = make_job(T5, devices=8, seq_len=S)
    found = exchanges(job, Layout(tp=4, sp=True), layer(job, "decoder"))
    counts = Counter({(p, c): 0 for p, c, _, _ in found})
    for (pass_, collective, _, _), calls in found.items():
        counts[(pass_, collective)] += calls
    # self-attention, cross-attention and MLP: one gather and one reduction each, plus the gather of the encoder output
    assert counts[("forward", "all_gather")] == 4
    assert counts[("forward", "reduce_scatter")] == 3
    assert counts[("backward", "all_gather")] == 3 + 4
    assert counts[("backward", "reduce_scatter")] == 4


def test_head_and_embedding_split_the_vocabulary(make_job: Any) -> None:
    """Look-up leaves a partial sum; the loss needs three reductions of one fp32 number per token."""
    job = make_job(LLAMA, devices=8, seq_len=S)
    layout = Layout(tp=4, sp=True)
    assert dict(exchanges(job, layout, "embedding")) == {
        ("forward", "reduce_scatter", "tp", STREAM): 1,
        ("backward", "all_gather", "tp", STREAM): 1,
    }
    assert dict(exchanges(job, layout, "head")) == {
        ("forward", "all_gather", "tp", STREAM): 1,
        ("forward", "all_reduce", "tp", 4 * S): 3,
        ("backward", "all_gather", "tp", STREAM): 1,
        ("backward", "reduce_scatter", "tp", STREAM): 1,
    }


def test_replicated_weights_are_summed_over_tp_once_per_step(make_job: Any) -> None:
    """Norm weights under sp, and K and V weights that several ranks hold (4 KV heads on 8 ranks: pairs)."""
    job = make_job(LLAMA, devices=8, seq_len=S)
    row = from_layouts([Layout(tp=8, sp=True)])
    transfers = price_block(job.model.blocks[layer(job)], row, job, [Recompute()])[0].transfers
    sums = {
        (t.exchange.what, int(t.ranks[0]), int(t.nbytes[0]))
        for t in transfers
        if t.exchange.pass_ == "optimizer"
    }
    assert sums == {
        ("attention_norm_weight", 8, H * 2),
        ("mlp_norm_weight", 8, H * 2),
        ("k_weight", 2, H * D * 2),
        ("v_weight", 2, H * D * 2),
    }


@pytest.mark.parametrize("sp", [True, False])
def test_head_norms_are_summed_over_tp_with_and_without_sp(make_job: Any, sp: bool) -> None:
    """Every rank has other heads (Megatron-LM, core/distributed/finalize_model_grads.py: q_layernorm, k_layernorm)."""
    job = make_job(LLAMA | {"qk_norm": "head_dim"}, devices=2, seq_len=S)
    row = from_layouts([Layout(tp=2, sp=sp)])
    transfers = price_block(job.model.blocks[layer(job)], row, job, [Recompute()])[0].transfers
    sums = {(t.exchange.what, int(t.nbytes[0])) for t in transfers if t.exchange.pass_ == "optimizer"}
    assert {("q_norm_weight", D * 2), ("k_norm_weight", D * 2)} <= sums
    assert (("mlp_norm_weight", H * 2) in sums) == sp


def test_one_device_communicates_nothing(make_job: Any) -> None:
    for model in (LLAMA, MOE, MLA, T5, PARALLEL):
        job = make_job(model, devices=1, seq_len=S)
        for name in job.model.blocks:
            assert not exchanges(job, Layout(), name)
