"""``python -m planner.cli``: the same as the command ``plan``."""

from __future__ import annotations

from planner.cli.main import main

if __name__ == "__main__":
    main()
