"""When the frames of a video are shown, and which of them belong together: pure functions of its time stamps.

Times are whole ticks of a time base (seconds per tick, a Fraction), so nothing is ever rounded. Source frame k is
shown from times[k] until times[k + 1], the last one until `end`; that is source interval k.
"""
import bisect
import collections
import dataclasses
import math
from fractions import Fraction

from common.errors import UserError


@dataclasses.dataclass
class SourceTimes:
    """When the source's frames are shown, and how they hang together.

    Attributes:
        times: strictly increasing ticks.
        end: when the last frame ends.
        cuts: k is in it where a new scene starts with frame k.
        repeats: k: the earlier frame that frame k shows again. Frames between the two repeat the same one.
        alike: the same for frames that only look the same; holds all of `repeats`.
        numbers: each frame's number in the file, by which it is read; none: they are counted from 0.
    """

    time_base: Fraction
    times: list[int]
    end: int
    cuts: set[int] = dataclasses.field(default_factory=set)
    repeats: dict[int, int] = dataclasses.field(default_factory=dict)
    alike: dict[int, int] = dataclasses.field(default_factory=dict)
    numbers: list[int] = dataclasses.field(default_factory=list)

    def __post_init__(self) -> None:
        if not self.numbers:
            self.numbers = list(range(len(self.times)))

    @property
    def duration(self) -> Fraction:
        return (self.end - self.times[0]) * self.time_base

    @property
    def rate(self) -> Fraction:
        """Average frames per second."""
        return len(self.times) / self.duration

    def regular(self, declared: Fraction) -> "SourceTimes":
        """The same frames at a constant rate, where times that are rounded to ticks stand for one; else unchanged.

        Frame k's time is times[0] + k / rate, rounded. So if the rate is right, the differences between all times and
        that lie within one tick of each other. Tried are `declared` and the whole and NTSC rates nearest to the mean.
        """
        count = len(self.times)
        if count < 3:
            return self
        mean = (count - 1) / ((self.times[-1] - self.times[0]) * self.time_base)
        for rate in (declared, *_usual_rates(mean)):
            if rate <= 0:
                continue
            step = 1 / (rate * self.time_base)  # ticks between frames: per_frame / per_tick
            per_frame, per_tick = step.numerator, step.denominator
            late = [(time - self.times[0]) * per_tick - k * per_frame for k, time in enumerate(self.times)]
            if max(late) - min(late) <= per_tick:
                break
        else:
            return self
        times = [self.times[0] * per_tick + k * per_frame for k in range(count)]
        end = times[-1] + per_frame
        if abs(self.end * per_tick - end) > per_tick:  # the last frame is shown for longer, or less
            end = max(times[-1] + 1, self.end * per_tick)
        return dataclasses.replace(self, time_base=self.time_base / per_tick, times=times, end=end)

    def part(self, start: int, end: int) -> "SourceTimes":
        """From the frame on the screen at tick `start` until tick `end`.

        The last frame is shown for its whole time, unless it would stay for longer than a frame usually does.

        Raises:
            UserError: nothing lies between the two.
        """
        first = max(0, bisect.bisect_right(self.times, start) - 1)
        stop = bisect.bisect_left(self.times, end)
        if first >= stop or start >= min(end, self.end):
            begins, ends = (float(time * self.time_base) for time in (self.times[0], self.end))
            raise UserError("nothing lies between --start and --end: the video lasts from "
                            f"{begins:g} to {ends:g} seconds")
        whole = [*self.times, self.end][stop]
        usual = (self.end - self.times[0]) / len(self.times)
        return dataclasses.replace(self._only(list(range(first, stop))), end=whole if whole - end < usual else end)

    def counted_from(self, tick: int) -> "SourceTimes":
        """The same, with the clock at 0 at `tick`."""
        return dataclasses.replace(self, times=[time - tick for time in self.times], end=self.end - tick)

    def without_repeats(self, longest: int) -> "SourceTimes":
        """Without frames that look like the one before, which is shown for as much longer.

        Where more than `longest` frames in a row look like the first of them, it is a pause, and stays.
        """
        run = collections.Counter(self.alike.values())
        return self._only([k for k in range(len(self.times)) if k not in self.alike or run[self.alike[k]] > longest])

    def _only(self, frames: list[int]) -> "SourceTimes":
        """These frames (ascending), each shown until the next one."""
        place = {k: j for j, k in enumerate(frames)}

        def moved(relation: dict[int, int]) -> dict[int, int]:
            return {place[k]: place[max(of, frames[0])] for k, of in relation.items() if place.get(k, 0) > 0}

        cuts = {bisect.bisect_left(frames, k) for k in self.cuts} - {0, len(frames)}
        return SourceTimes(self.time_base, [self.times[k] for k in frames], self.end, cuts, moved(self.repeats),
                           moved(self.alike), [self.numbers[k] for k in frames])


def neat_rate(rate: Fraction) -> Fraction:
    """The frame rate that is meant by a measured one: a whole number or 1000 / 1001 of one, if that is near."""
    meant = min(_usual_rates(rate), key=lambda usual: abs(usual - rate))
    return meant if abs(meant - rate) < rate / 2000 else max(rate, Fraction(1, 1000)).limit_denominator(1000)


def _usual_rates(rate: Fraction) -> tuple[Fraction, Fraction]:
    return Fraction(round(rate)), Fraction(1000 * round(rate * 1001 / 1000), 1001)


def common_tick(a: Fraction, b: Fraction) -> Fraction:
    """The largest fraction that a and b are whole multiples of."""
    return Fraction(math.gcd(a.numerator * b.denominator, b.numerator * a.denominator), a.denominator * b.denominator)
