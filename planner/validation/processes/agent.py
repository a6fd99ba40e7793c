"""torchrun with two habits more: it dies with its parent, and it writes which of its processes failed, and how.

``python -m planner.validation.processes.agent PARENT_PID REPORT_FILE TORCHRUN_ARGUMENT...``
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from planner.validation.processes.lifetime import die_with_parent

AGENT_PID = "PLANNER_AGENT_PID"
"""Environment variable: process id of the agent, for its workers."""


def main(arguments: list[str]) -> int:
    """Run the processes; 0 when all of them ended well, else 1 and the report holds rank -> exit code."""
    parent, report, *options = arguments
    die_with_parent(int(parent))
    os.environ[AGENT_PID] = str(os.getpid())
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import elastic_launch
    from torch.distributed.run import config_from_args, parse_args

    config, command, command_arguments = config_from_args(parse_args(options))  # type: ignore[no-untyped-call]
    try:
        elastic_launch(config=config, entrypoint=command)(*command_arguments)
    except ChildFailedError as error:
        codes = {str(rank): failure.exitcode for rank, failure in error.failures.items()}
        Path(report).write_text(json.dumps(codes), encoding="utf-8")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
