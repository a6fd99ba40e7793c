"""What a framework does apart, pads or gathers: gradients of weights, values of latent attention, tokens of experts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from planner.costs.operators import OperatorCost, operator_cost
from planner.costs.predict import predict
from planner.costs.sizes import Sizes
from planner.hardware.types import AttentionKernel
from planner.jobs.types import Dispatcher, Job, MoeOptions
from planner.layouts.layout import Layout
from planner.layouts.layouts import from_layouts
from planner.layouts.sharding import Pattern, derive
from tests.costs.samples import DENSE, MOE

LATENT = DENSE | {
    "kv_heads": 16,
    "mla": {
        "kv_lora_rank": 512, "q_lora_rank": 1536, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128,
    },
}  # fmt: skip
TOKENS = 4096


def _with(job: Job, **habits: Any) -> Job:
    return replace(job, framework=job.framework.model_copy(update=habits))


def _cost(job: Job, kind: str, output: str | None = None, *, of: str = "layer") -> OperatorCost:
    block = next(block for block in job.model.blocks.values() if block.kind == of)
    sizes = Sizes(from_layouts([Layout(dp=job.devices)]), job, block)
    operator = next(o for o in block.operators if o.kind == kind and output in (None, o.output))
    return operator_cost(operator, block, derive(block, Pattern()), sizes)


def test_values_are_padded_to_the_width_of_queries(make_job: Any) -> None:
    """2 x tokens x keys x heads x (192 + 128), or (192 + 192) where kernels take heads of one width."""
    job = make_job(LATENT, devices=8, seq_len=TOKENS, framework="megatron-core")
    for pads, widths in ((False, 192 + 128), (True, 192 + 192)):
        found = _cost(_with(job, pads_values=pads), "attention").forward_flops[0]
        assert found == pytest.approx(2 * TOKENS * TOKENS * 16 * widths)


def test_equal_heads_are_not_padded(make_job: Any) -> None:
    job = make_job(DENSE, devices=8, seq_len=TOKENS, framework="megatron-core")
    plain, padded = (_cost(_with(job, pads_values=pads), "attention") for pads in (False, True))
    assert plain.forward_flops[0] == padded.forward_flops[0]


def test_gradients_added_apart_pass_memory_once_more(make_job: Any) -> None:
    """A kernel reads 2 bytes per weight and reads and writes 4; at 32,768 tokens the matmul itself waits for computing."""
    job = make_job(DENSE, devices=8, seq_len=32768, framework="megatron-core")
    law = job.framework.state_law("bf16").model_copy(update={"accumulation": 10.0})
    other = _with(job, states={"bf16": law})
    inside, apart = (_cost(one, "einsum").weight_gradient_s[0] for one in (job, other))
    weights = 1024 * (1024 + 2 * 256)  # queries of 16 heads, keys and values of 4: one product
    accelerator = job.cluster.accelerator
    rate = accelerator.memory_bandwidth * accelerator.kernels.memory_efficiency
    assert apart - inside == pytest.approx(10 * weights / rate, rel=0.05)


def test_gradients_that_travel_in_16_bits_are_added_in_them(make_job: Any) -> None:
    """Two reads and a write of 2 bytes per weight instead of 10 bytes."""
    job = make_job(DENSE, devices=8, seq_len=32768, framework="megatron-core")
    law = job.framework.state_law("bf16").model_copy(update={"accumulation": 10.0})
    wide = _with(job, states={"bf16": law})
    narrow = replace(wide, training=replace(wide.training, gradient_reduce_bytes=2.0))
    seconds = [_cost(one, "einsum").weight_gradient_s[0] for one in (wide, narrow)]
    accelerator = job.cluster.accelerator
    rate = accelerator.memory_bandwidth * accelerator.kernels.memory_efficiency
    assert seconds[0] - seconds[1] == pytest.approx((10 - 6) * 1024 * (1024 + 2 * 256) / rate, rel=0.05)


def test_eager_pytorch_writes_norms_and_rotary_embeddings_out(make_job: Any) -> None:
    """Bytes per element, forward and backward: 36 and 84 for the norm, 20 for the embedding; compiled 4 and 6, and 4."""
    job = make_job(DENSE, devices=8, seq_len=TOKENS, framework="torchtitan")
    compiled = replace(job, training=replace(job.training, compile=True))
    accelerator = job.cluster.accelerator
    rate = accelerator.memory_bandwidth * accelerator.kernels.memory_efficiency
    for kind, output, eager, one in (
        ("norm", "attention_norm_out", (36, 84), (4, 6)),
        ("rope", "q_rope_out", (20, 20), (4, 4)),
    ):
        for which, expected in ((job, eager), (compiled, one)):
            cost = _cost(which, kind, output)
            moved = [float(s[0]) * rate for s in (cost.forward_s, cost.input_gradient_s)]
            assert moved == pytest.approx([nbytes * TOKENS * 1024 for nbytes in expected], rel=0.01)


@pytest.mark.parametrize(("dispatcher", "collectives", "copies"), [
    ("alltoall", {"all_to_all"}, 2),  # rows to the two experts of each token
    ("allgather", {"all_gather", "reduce_scatter"}, 4),  # every token to all four ranks
])  # fmt: skip
def test_tokens_of_experts_travel_as_rows_or_all_of_them(
    make_job: Any, dispatcher: Dispatcher, collectives: set[str], copies: int
) -> None:
    training = {"moe": MoeOptions(dispatcher=dispatcher)}
    job = make_job(
        MOE, devices=4, global_batch=4, seq_len=TOKENS, framework="megatron-core", training=training
    )
    rows = [row for row in predict(job, Layout(dp=4, ep=4)).communication if row.axis == "ep"]
    assert {row.collective for row in rows} == collectives
    assert {row.bytes_per_call for row in rows} == {copies * TOKENS * 1024 * 2}
    assert sum(row.calls_per_step for row in rows) == 7 * 4  # seven layers with experts, two each way


def test_gathered_tokens_are_picked_and_added_in_many_passes(make_job: Any) -> None:
    """Per routed byte 4 + 7 (dispatch) and 14 + 16 (combine), per byte of all ranks' tokens 0 + 1 and 5 + 0."""
    job = make_job(MOE, devices=4, seq_len=65536, framework="megatron-core")
    job = replace(job, training=replace(job.training, moe=MoeOptions(dispatcher="allgather")))
    block = job.model.blocks["moe"]
    sizes = Sizes(from_layouts([Layout(dp=4, ep=4)]), job, block)
    derivation = derive(block, Pattern(ep=True, gathers_tokens=True))
    found = {o.kind: operator_cost(o, block, derivation, sizes) for o in block.operators}
    routed, tokens = (copies * 65536 * 1024 * 2 for copies in (2, 4))  # top 2; four ranks
    accelerator = job.cluster.accelerator
    rate = accelerator.memory_bandwidth * accelerator.kernels.memory_efficiency
    factor = job.framework.elementwise_factor / rate
    for kind, forward, backward in (
        ("dispatch", 4 * routed, 7 * routed + tokens),
        ("combine", 14 * routed + 5 * tokens, 16 * routed),
    ):
        assert found[kind].launches_backward[0] > 4.0  # of the plain dispatcher
        assert found[kind].forward_s[0] == pytest.approx(factor * forward, rel=0.02)
        assert found[kind].input_gradient_s[0] == pytest.approx(factor * backward, rel=0.02)


def test_a_vocabulary_is_padded_where_the_framework_pads_it(make_job: Any) -> None:
    """Products over 50,257 tokens are those over 50,304; without padding rows of an odd length triple the time."""
    found = []
    for vocab, pads in ((50257, 128), (50304, 128), (50257, 1)):
        job = _with(make_job(DENSE | {"vocab": vocab}, devices=8, seq_len=TOKENS), pads_vocabulary=pads)
        tiled = replace(job.cluster.accelerator, compute_units=100)
        job = replace(job, cluster=replace(job.cluster, accelerator=tiled))
        found.append(float(_cost(job, "einsum", of="head").forward_s[0]))
    assert found[0] == found[1]
    assert found[2] / found[1] == pytest.approx(3.0, rel=0.05)


def test_ranks_drop_what_an_unpadded_vocabulary_leaves_over(make_job: Any) -> None:
    """Two ranks of 50,257 tokens have 25,128 columns each, as of 50,256; one rank keeps the odd number."""
    layouts = [Layout(tp=2, dp=4), Layout(dp=8)]
    found = {}
    for vocab in (50256, 50257):
        job = _with(make_job(DENSE | {"vocab": vocab}, devices=8, seq_len=TOKENS), pads_vocabulary=0)
        tiled = replace(job.cluster.accelerator, compute_units=100)
        job = replace(job, cluster=replace(job.cluster, accelerator=tiled))
        head = next(block for block in job.model.blocks.values() if block.kind == "head")
        operator = next(o for o in head.operators if o.kind == "einsum")
        sizes = [Sizes(from_layouts([one]), job, head) for one in layouts]
        costs = [
            operator_cost(operator, head, derive(head, Pattern(tp=tp > 1)), one)
            for one, tp in zip(sizes, (2, 1), strict=True)
        ]
        found[vocab] = [float(cost.forward_s[0]) for cost in costs]
    assert found[50257][0] == found[50256][0]
    assert found[50257][1] > 2.0 * found[50256][1]


@pytest.mark.parametrize(
    ("tp", "micro_batch", "fused"), [(8, 1, False), (8, 2, True), (4, 1, True), (8, 3, False)]
)
def test_a_fused_softmax_takes_matrices_of_scores_by_fours(
    make_job: Any, tp: int, micro_batch: int, fused: bool
) -> None:
    """Of 16 heads each of 8 ranks has 2: one sequence makes two matrices, and the softmax goes to kernels of their own."""
    job = make_job(DENSE | {"kv_heads": 16}, devices=8, seq_len=TOKENS, framework="megatron-lm")
    job = replace(job, training=replace(job.training, attention="unfused"))
    written_out = _with(job, fusions=job.framework.fusions - {"softmax", "causal_softmax"})
    whole = _with(job, fusions=job.framework.fusions - {"causal_softmax"})
    block = next(block for block in job.model.blocks.values() if block.kind == "layer")
    operator = next(o for o in block.operators if o.kind == "attention")
    rows = from_layouts([Layout(tp=tp, dp=8 // tp, micro_batch=micro_batch)])
    megatrons, apart, one_kernel = (
        operator_cost(operator, block, derive(block, Pattern(tp=True)), Sizes(rows, one, block))
        for one in (job, written_out, whole)
    )
    if fused:
        assert megatrons.forward_s[0] < one_kernel.forward_s[0] < apart.forward_s[0]
    else:
        assert megatrons.forward_s[0] == apart.forward_s[0]
        assert megatrons.input_gradient_s[0] == apart.input_gradient_s[0]
    more = 0.0 if fused else 4.0
    assert megatrons.launches_forward[0] - one_kernel.launches_forward[0] == more
    assert megatrons.launches_backward[0] - one_kernel.launches_backward[0] == more


def test_a_triangle_of_scores_is_read_half(make_job: Any) -> None:
    """The fused softmax skips half of the scores, of 2 bytes; backward half of their gradients and of the probabilities."""
    job = make_job(DENSE, devices=8, seq_len=TOKENS, framework="megatron-lm")
    job = replace(job, training=replace(job.training, attention="unfused"))
    whole = _with(job, fusions=job.framework.fusions - {"causal_softmax"})
    plain, skipping = (_cost(one, "attention") for one in (whole, job))
    kernels, scores = job.cluster.accelerator.kernels, 16 * TOKENS**2
    rate = job.cluster.accelerator.memory_bandwidth * kernels.memory_efficiency
    short = 1.0 + kernels.attention_kernels.get("unfused", AttentionKernel()).full_half / TOKENS
    for name, nbytes in (("forward_s", 1.0), ("input_gradient_s", 2.0)):
        saved = getattr(plain, name)[0] - getattr(skipping, name)[0]
        assert saved == pytest.approx(nbytes * scores * short / rate)


def test_biased_scores_cost_time_in_unfused_attention_only(make_job: Any) -> None:
    for attention, same in (("unfused", False), ("flash", True)):
        seconds = []
        for positions in ("learned", "alibi"):
            job = make_job(DENSE | {"positions": positions}, devices=8, seq_len=TOKENS)
            training = replace(job.training, attention=attention)
            seconds.append(float(_cost(replace(job, training=training), "attention").forward_s[0]))
        assert (seconds[0] == seconds[1]) is same
