"""Both ends of a language model: the look-up in a table and the cross entropy over a vocabulary."""

from __future__ import annotations

from planner.models.operator_graph.rules.call import AxisRule, Call, Rule, UnknownCallError, own_dims
from planner.models.operator_graph.types import InnerSum


def _embedding(call: Call) -> AxisRule:
    """Rows of a table. Split by rows, a rank gives zeros for ids that are not its own, and the sum is the result:
    the vocabulary-parallel embedding of Megatron-LM (arXiv 1909.08053, section 3)."""
    table, ids = call.inputs
    rows, width = own_dims(table, "t")
    vocabulary, hidden = tuple("vocabulary" for _ in rows), tuple("hidden" for _ in width)
    dims = own_dims(ids)
    return AxisRule(
        "embedding",
        ((vocabulary, hidden), dims),
        ((*dims, hidden),),
        saves=(ids,),
    )


def _cross_entropy(call: Call) -> AxisRule:
    """Softmax cross entropy with class ids, summed or averaged over rows.

    Split by classes, ranks agree on each row's maximum, on the sum of its exponentials and on the target's logit: three
    all-reduces in 32 bits, none in backward (Megatron-LM's vocabulary-parallel cross entropy, arXiv 1909.08053,
    section 3). Split by rows, every rank's share of the average adds up.
    """
    logits, target = call.inputs[:2]
    reduction, smoothing = call.integer(3, "reduction", 1), call.argument(5, "label_smoothing", 0.0)
    if (
        len(call.inputs) > 2
        or len(logits.shape) != 2
        or target.dtype not in ("int64", "int32")
        or reduction == 0
    ):
        raise UnknownCallError("cross entropy other than of [rows, classes] with ids, averaged or summed")
    row, vocabulary = (
        (("row",) if logits.shape[0] > 1 else ()),
        (("vocabulary",) if logits.shape[1] > 1 else ()),
    )
    sums = tuple(
        InnerSum(row, "float32", False, what)
        for what in ("maximum of the logits", "sum of exponentials", "logit of the target")
    )
    return AxisRule(
        "loss",
        ((row, vocabulary), (row,)),
        ((),),
        frozenset(vocabulary) if smoothing else frozenset(),
        inner_sums={} if smoothing else dict.fromkeys(vocabulary, sums),
        saves=(logits, target),
    )  # fmt: skip


RULES: dict[str, Rule] = {"aten.embedding": _embedding, "aten.cross_entropy_loss": _cross_entropy}
"""Rules by ATen name."""
