"""Start local processes of one job under torchrun, wait for them, and turn whatever goes wrong into one line."""

from __future__ import annotations

import importlib.util
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from planner.errors import NoAnswerError, PlannerError
from planner.validation.processes.worker import ERRORS

AGENT = "planner.validation.processes.agent"
_LOOPBACK = "127.0.0.1"
_TAIL = 300


def run_processes(
    module: str,
    arguments: Sequence[str],
    count: int,
    *,
    timeout_s: float = 600.0,
    port: int | None = None,
    environment: Mapping[str, str] | None = None,
    on_line: Callable[[str], None] | None = None,
) -> None:
    """Run ``python -m module arguments...`` as ``count`` processes of this machine and wait for all of them.

    They rendezvous over loopback, each with one thread per core library. None outlives this call or this process.

    Args:
        module: ends with ``run_worker`` (see ``worker``).
        timeout_s: longest time without a line on standard output.
        port: of the rendezvous; None for a free one.
        environment: variables on top of this process's.
        on_line: gets every line that the processes print on standard output (let one rank print).

    Raises:
        PlannerError: torch is missing, the port is in use, fewer than one process, or a process refused its input.
        NoAnswerError: a process died (its own message), or nothing was heard for ``timeout_s``.
    """
    require_torch()
    if count < 1:
        raise PlannerError(f"found {count}; at least 1", field="processes")
    if port is not None:
        _require_free(port)
    with tempfile.TemporaryDirectory(prefix="plan-") as name:
        folder = Path(name)
        report, errors = folder / "failed.json", folder / "errors.txt"
        command = [sys.executable, "-m", AGENT, str(os.getpid()), str(report), *_torchrun(count, port)]
        surroundings = {**os.environ, **_quiet_surroundings(folder), **(environment or {})}
        with errors.open("wb") as sink, _started([*command, module, *arguments], surroundings, sink) as agent:
            code = _follow(agent, timeout_s, on_line)
        if code is None:
            raise NoAnswerError(f"{count} processes of {module} hang: nothing heard for {timeout_s:.0f} s")
        if code != 0:
            raise _failure(folder, report, errors)


def require_torch() -> None:
    """Refuse when PyTorch is not installed.

    Raises:
        PlannerError: says how to install it.
    """
    if importlib.util.find_spec("torch") is None:
        raise PlannerError("PyTorch is not installed; pip install 'distributed-training-planner[torch]'")


def _torchrun(count: int, port: int | None) -> list[str]:
    """As ``--standalone`` without a port (torchrun finds a free one), else the static rendezvous at the port."""
    meeting = ["--master-addr", _LOOPBACK, "--master-port", str(port)]
    if port is None:
        meeting = [
            "--rdzv-backend",
            "c10d",
            "--rdzv-endpoint",
            f"{_LOOPBACK}:0",
            "--rdzv-id",
            uuid.uuid4().hex,
        ]
    return [*meeting, "--nproc-per-node", str(count), "--module"]


def _quiet_surroundings(folder: Path) -> dict[str, str]:
    """Loopback only, one thread per process: more processes than cores would fight over them."""
    found = {ERRORS: str(folder), "PYTHONUNBUFFERED": "1"}
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        found[variable] = os.environ.get(variable, "1")
    if sys.platform == "linux":
        found["GLOO_SOCKET_IFNAME"] = os.environ.get("GLOO_SOCKET_IFNAME", "lo")
    return found


def _require_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_LOOPBACK, port))
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise PlannerError(f"port {port} cannot be used: {reason}", field="port") from None


@contextmanager
def _started(
    command: Sequence[str], environment: Mapping[str, str], errors: object
) -> Iterator[subprocess.Popen[bytes]]:
    """The agent in a session of its own (so that Ctrl-C reaches it through here only), killed at the end."""
    agent = subprocess.Popen(
        command,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=errors,  # type: ignore[call-overload]
        start_new_session=True,
    )
    try:
        yield agent
    finally:
        agent.kill()  # its processes die with it
        agent.wait()
        if agent.stdout:
            agent.stdout.close()


def _follow(
    agent: subprocess.Popen[bytes], timeout_s: float, on_line: Callable[[str], None] | None
) -> int | None:
    """The agent's exit code, or None after ``timeout_s`` of silence; lines are handed on as they come."""
    assert agent.stdout is not None
    deadline = time.monotonic() + timeout_s
    with selectors.DefaultSelector() as waiting:
        waiting.register(agent.stdout, selectors.EVENT_READ)
        rest = b""
        while (left := deadline - time.monotonic()) > 0:
            if not waiting.select(left):
                continue
            data = os.read(agent.stdout.fileno(), 65536)
            if not data:
                break
            deadline = time.monotonic() + timeout_s
            *lines, rest = (rest + data).split(b"\n")
            for line in lines if on_line else ():
                assert on_line is not None
                on_line(line.decode(errors="replace"))
    try:
        return agent.wait(max(deadline - time.monotonic(), 0.0))
    except subprocess.TimeoutExpired:
        return None


def _failure(folder: Path, report: Path, errors: Path) -> PlannerError:
    """The first cause: a death by signal takes the others along, else who failed first by the clock."""
    codes = json.loads(report.read_text(encoding="utf-8")) if report.exists() else {}
    for rank, code in codes.items():
        if code < 0 and -code != signal.SIGTERM:
            name = signal.Signals(-code).name
            hint = " (out of memory?)" if -code == signal.SIGKILL else ""
            return NoAnswerError(f"rank {rank} died of {name}{hint}")
    told = [(json.loads(file.read_text(encoding="utf-8")), file.stem) for file in folder.glob("rank-*.json")]
    if told:
        first, stem = min(told, key=lambda item: float(item[0]["time"]))
        kind = PlannerError if first["bad_input"] else NoAnswerError
        return kind(f"{stem.replace('-', ' ')}: {' '.join(first['message'].split())}")
    if codes:
        return NoAnswerError(
            "; ".join(f"rank {rank} ended with exit code {code}" for rank, code in codes.items())
        )
    last = errors.read_text(encoding="utf-8", errors="replace").strip()[-_TAIL:]
    return NoAnswerError(f"torchrun failed: {' '.join(last.split()) or 'no message'}")
