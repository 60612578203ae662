"""Which steps to take: a loss that is not finite, or far above the recent ones, teaches nothing good."""
import math
import statistics
from collections import deque

from common.errors import UserError

WINDOW = 100         # losses of steps taken that the median is over
FEWEST = 20          # with fewer of them, only losses that are not finite are skipped
MOST_IN_A_ROW = 10   # skipped steps after which a training is beyond help


class SaneSteps:
    """Says of each step whether to take it. Every process sees the same numbers, so all of them decide alike.

    Args:
        factor: a loss above this many times the median of the last `WINDOW` is skipped; 0: only what is not finite.
        recent: the losses of the steps before, where a training goes on.
    """

    def __init__(self, factor: float, recent: list[float] | None = None) -> None:
        self.factor, self.recent, self.in_a_row = factor, deque(recent or (), WINDOW), 0

    def accept(self, loss: float, norm: float) -> bool:
        """Whether to take a step of this loss and gradient norm.

        Raises:
            UserError: `MOST_IN_A_ROW` steps were refused in succession.
        """
        sane = math.isfinite(loss) and math.isfinite(norm)
        if sane and self.factor and len(self.recent) >= FEWEST:
            sane = loss <= self.factor * statistics.median(self.recent)
        if sane:
            self.recent.append(loss)
            self.in_a_row = 0
            return True
        self.in_a_row += 1
        if self.in_a_row == MOST_IN_A_ROW:
            raise UserError(f"{MOST_IN_A_ROW} steps in a row were skipped, the last one with loss {loss:.4g} and "
                            f"gradient norm {norm:.4g}: stopped; --output keeps the state of the last save. "
                            "Lower --lr, or use --precision fp32")
        return False
