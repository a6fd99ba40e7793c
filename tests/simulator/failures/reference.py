"""One run of a failing job, phase by phase with a pool of spare nodes: slow, plain, and shares no code with the simulator."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator

from planner.simulator.failures.model import FailureModel


class Run:
    """A job that works, saves, fails and recovers until the first durable checkpoint at or after the horizon.

    Args:
        at_risk: seconds of exposure between successive failures.
    """

    def __init__(
        self, model: FailureModel, interval: float, horizon: float, at_risk: Iterator[float]
    ) -> None:
        self.model = model
        self.interval = interval
        self.horizon = horizon
        self.at_risk = at_risk
        self.left = next(at_risk)
        self.now = 0.0
        self.durable = 0
        self.failures = 0
        self.waited = 0.0
        self.missing = 0
        self.pool = math.inf if model.spares is None else float(model.spares)
        self.repairs: list[float] = []

    def go(self) -> None:
        """To the end; ``now``, ``durable`` and ``waited`` are the result."""
        saved_at = self.model.background_s
        pending = False
        while True:
            if pending:
                pending = False
                if not self._survives(self.model.background_s):
                    self._recover()
                    saved_at = 0.0
                    continue
                self.durable += 1
                if self.now >= self.horizon:
                    return
                saved_at = self.model.background_s
            if self._survives(self.interval - saved_at + self.model.checkpoint_s):
                pending = True
            else:
                self._recover()
                saved_at = 0.0

    def _survives(self, duration: float) -> bool:
        if self.left > duration:
            self.left -= duration
            self.now += duration
            return True
        self.now += self.left
        self.left = next(self.at_risk)
        self.failures += 1
        self.missing += 1
        heapq.heappush(self.repairs, self.now + self.model.repair_s)
        return False

    def _recover(self) -> None:
        while True:
            known = self.now + self.model.detect_s
            while not self._survives(known - self.now):
                pass
            self._replace()
            if self._survives(self.model.restart_s):
                return

    def _replace(self) -> None:
        began = self.now
        while self.missing:
            while self.repairs and self.repairs[0] <= self.now:
                heapq.heappop(self.repairs)
                self.pool += 1
            if self.pool > 0:
                self.pool -= 1
                self.missing -= 1
            else:
                self.now = self.repairs[0]
        self.waited += self.now - began
