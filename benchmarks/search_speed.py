"""Time and memory of whole searches over the reference space against the number of devices: a table, and a picture for the docs.

Each search runs in a process of its own on one core and is timed in it, after loading: ``python -m benchmarks.search_speed``.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.reference_jobs import ROOT, SETTINGS, reference_job

COUNTS = (8, 64, 512, 1024, 2048, 16384, 98304)
ROUNDS = 2
GIB = float(2**30)


def main() -> None:
    """Measure and draw, or measure one search for the parent process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--one", nargs=2, metavar=("MODEL", "DEVICES"), help="search one job and print JSON")
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "docs" / "search-speed.png")
    given = parser.parse_args()
    if given.one:
        sys.stdout.write(json.dumps(measured(given.one[0], int(given.one[1]))))
        return
    points = {model: [_apart(model, count) for count in COUNTS] for model in SETTINGS}
    for model, rows in points.items():
        for row in rows:
            sys.stdout.write(_line(model, row) + "\n")
    draw({model: [row for row in rows if row["proved"]] for model, rows in points.items()}, given.output)


def measured(model: str, devices: int) -> dict[str, Any]:
    """Seconds of one core (the better of two rounds), peak memory and counts of one search."""
    from planner.errors import NoAnswerError
    from planner.solvers.search import search

    job = reference_job(model, devices)
    seconds = []
    try:
        for _ in range(ROUNDS):
            begin = time.process_time()
            found = search(job)
            seconds.append(time.process_time() - begin)
    except NoAnswerError:
        return {"devices": devices, "proved": False}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0
    counts = {name: found.space[name] for name in ("candidates", "evaluated", "pruned")}
    proved = found.certificate["proved"]
    return {"devices": devices, "seconds": min(seconds), "peak_bytes": peak, "proved": proved} | counts


def _apart(model: str, devices: int) -> dict[str, Any]:
    """The same in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.search_speed", "--one", model, str(devices)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def _line(model: str, row: Mapping[str, Any]) -> str:
    head = f"{model:12} {row['devices']:>7,} devices: "
    if not row["proved"]:
        return head + "nothing fits"
    pruned = ", ".join(f"{reason} {count:,}" for reason, count in row["pruned"].items())
    rate = row["candidates"] / row["seconds"]
    return (
        f"{head}{row['seconds']:5.2f} s, {row['peak_bytes'] / GIB:.2f} GiB, {row['candidates']:>10,} candidates "
        f"({rate / 1e6:.1f} M/s), evaluated {row['evaluated']:,}, pruned: {pruned}"
    )


def draw(points: Mapping[str, list[dict[str, Any]]], output: Path) -> None:
    """Seconds and candidates against devices, one line per model."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (above, below) = pyplot.subplots(
        2, 1, figsize=(7.0, 6.0), sharex=True, layout="constrained", height_ratios=(3, 2)
    )
    styles = (("o", "-", "0.55"), ("s", "--", "0.3"), ("D", "-", "0.0"))
    for (model, rows), (marker, line, colour) in zip(points.items(), styles, strict=True):
        devices = [row["devices"] for row in rows]
        look: dict[str, Any] = {"marker": marker, "linestyle": line, "color": colour, "markersize": 5}
        above.plot(devices, [row["seconds"] for row in rows], label=SETTINGS[model][1], **look)
        below.plot(devices, [row["candidates"] / 1e6 for row in rows], **look)
    above.axhline(2.0, color="0.7", linewidth=1.0, zorder=0)
    above.annotate("bar: 2 s", (8, 2.0), xytext=(-4, 4), textcoords="offset points", color="0.4")
    above.set(
        ylabel="Proved search, s of one core",
        ylim=(0.0, max(2.3, above.get_ylim()[1])),
        title="Searches over the reference space",
    )
    above.legend(loc="lower right", frameon=False)
    below.set(xlabel="Devices", ylabel="Candidates, millions", xscale="log", yscale="log")
    ticks = [8, 64, 512, 2048, 16384, 98304]
    below.set_xticks(ticks, [f"{count:,}" for count in ticks])
    below.minorticks_off()
    for axes in (above, below):
        axes.grid(visible=True, color="0.92")
    temporary = output.with_suffix(".tmp.png")
    figure.savefig(temporary, dpi=150)
    temporary.replace(output)


if __name__ == "__main__":
    main()
