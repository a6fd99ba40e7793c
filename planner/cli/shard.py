"""``plan shard``: a sharding for every operator of a graph, chosen by a linear programme."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from planner.cli.options import output_options
from planner.cli.output import Output, check_target
from planner.errors import PlannerError

if TYPE_CHECKING:
    from rich.console import Console

    from planner.solvers.sharding import Answer, Problem, Search

DEFAULT_CLUSTER = "h100-superpod"


@click.command("shard")
@click.argument("graph", metavar="GRAPH")
@click.option("--mesh", required=True, metavar="NxM", help="Devices in one or two dimensions, e.g. 8 or 2x4.")
@click.option(
    "--cluster",
    default=DEFAULT_CLUSTER,
    show_default=True,
    metavar="C",
    help="Catalogue name or cluster file.",
)
@click.option(
    "--input",
    "inputs",
    multiple=True,
    metavar="DTYPE[SHAPE]",
    help="Of each input in turn, e.g. int64[8,128].",
)
@click.option(
    "--block", is_flag=True, help="One of many equal blocks: outputs lie as inputs, gradients go back."
)
@click.option("--inference", is_flag=True, help="Forward pass only.")
@click.option("--memory", metavar="SIZE", help="What a rank may hold (default: all of its device).")
@click.option(
    "--rules", type=click.Choice(["auto"]), help="Take the two rules of automatic tensor parallelism."
)
@click.option("--explain", is_flag=True, help="Next best split of every operator.")
@click.option("--why", "asked", multiple=True, metavar="OPERATOR", help="What every other split of it costs.")
@click.option("-o", "plan_file", metavar="FILE", help="Write placements and transitions as YAML.")
@click.option("--write-lp", metavar="FILE", help="Write the linear programme.")
@click.option("--back-end", type=click.Choice(["highs", "cbc"]), default="highs", show_default=True)
@click.option("--time-limit", metavar="TIME", default="60s", show_default=True, help="Of the solver.")
@click.option("--gap", metavar="GAP", default="0", show_default=True, help="Stop within this of the optimum.")
@output_options
def command(
    graph: str,
    mesh: str,
    cluster: str,
    inputs: tuple[str, ...],
    block: bool,
    inference: bool,
    rules: str | None,
    explain: bool,
    asked: tuple[str, ...],
    plan_file: str | None,
    write_lp: str | None,
    output: Output,
    **limits: Any,
) -> None:
    """Choose how each operator of GRAPH is split over a mesh of devices, so that a training step is shortest.

    GRAPH: MODEL.py:FUNCTION, an exported program (.pt2), an ONNX model, or a graph file (.yaml, .json).
    """
    if rules is not None and (explain or asked or write_lp):
        raise click.UsageError("--rules solves no programme: it excludes --explain, --why and --write-lp")
    for target in (plan_file, write_lp):
        check_target(target)
    search = _search(**limits)
    with output.progress() as progress:
        progress(0.1, "reading the graph")
        problem = _problem(graph, mesh, cluster, inputs, training=not inference, block=block)
        progress(0.5, "choosing")
        made = _by_rules(problem, search) if rules else _solved(problem, search, write_lp, explain, asked)
        choice, payload = made
    if plan_file is not None:
        from planner.documents import write_yaml
        from planner.report.shard import plan_file_data

        write_yaml(plan_file, plan_file_data(problem, choice, payload))
    output.emit(payload, lambda console: _print(console, payload, plan_file, write_lp, output))


def _search(memory: str | None, back_end: Any, time_limit: str, gap: str) -> Search:
    from planner.solvers.sharding import Search
    from planner.units import parse_quantity

    return Search(
        memory_bytes=parse_quantity(memory, "bytes", field="--memory", allow_zero=False) if memory else None,
        back_end=back_end,
        time_limit_s=parse_quantity(time_limit, "s", field="--time-limit", allow_zero=False),
        gap=parse_quantity(gap, "1", field="--gap"),
    )


def _problem(
    graph: str, mesh: str, cluster: str, inputs: tuple[str, ...], *, training: bool, block: bool
) -> Problem:
    from planner.hardware.loader import load_cluster
    from planner.models.operator_graph.load import load_graph
    from planner.solvers.sharding import make_problem, mesh_hardware, parse_mesh

    shape = parse_mesh(mesh)
    try:
        devices = load_cluster(cluster, base=Path.cwd())
    except PlannerError as error:
        if error.file is not None:
            raise
        raise PlannerError(f"{error.message}; plan hardware list names them", field="--cluster") from None
    hardware = mesh_hardware(devices, shape)
    return make_problem(load_graph(graph, inputs, block=block), hardware, training=training, block=block)


def _by_rules(problem: Problem, search: Search) -> tuple[tuple[int, ...], dict[str, Any]]:
    from planner.report.shard import sharding_json
    from planner.solvers.sharding import rivals

    quick = rivals(problem)
    chosen, memory = quick["two rules"], search.memory_bytes
    return chosen, sharding_json(problem, chosen, quick, name="two rules", memory_bytes=memory, answer=None)


def _solved(
    problem: Problem, search: Search, lp_file: str | None, explain: bool, asked: tuple[str, ...]
) -> tuple[tuple[int, ...], dict[str, Any]]:
    from planner.report.shard import sharding_json, why_json
    from planner.solvers.sharding import best_sharding
    from planner.solvers.sharding.explain import why

    answer = best_sharding(problem, search, lp_file=lp_file)
    memory = search.memory_bytes
    payload = sharding_json(
        problem, answer.choice, answer.rivals, name="ilp", memory_bytes=memory, answer=answer
    )
    if explain:
        payload["next_best"] = _next_best(answer)
    if asked:
        payload["why"] = [why_json(why(answer, operator, search)) for operator in asked]
    return answer.choice, payload


def _next_best(answer: Answer) -> list[dict[str, Any]]:
    from planner.report.shard import alternative_json
    from planner.solvers.sharding.explain import runners_up

    problem = answer.problem
    return [
        {
            "operator": name,
            "chosen": list(problem.nodes[at].strategies[answer.choice[at]].split),
            **alternative_json(other),
        }
        for name, other in runners_up(answer).items()
        for at in [problem.places["operator", name]]
    ]


def _print(
    console: Console, payload: dict[str, Any], plan_file: str | None, lp_file: str | None, output: Output
) -> None:
    from planner.report.shard_tables import print_runners_up, print_sharding, print_why

    print_sharding(console, payload, quiet=output.quiet)
    if "next_best" in payload:
        print_runners_up(console, payload)
    for found in payload.get("why", ()):
        print_why(console, found, payload["seconds"])
    for what, file in (("plan", plan_file), ("linear programme", lp_file)):
        if file is not None and not output.quiet:
            console.print(f"{what} written to {file}")
