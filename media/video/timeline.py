"""Which frame is shown when: the plan of a video, as pure functions of its time stamps.

Times are whole ticks of a time base (seconds per tick, a Fraction), so nothing is ever rounded. Source
frame k is shown from times[k] until times[k + 1], the last one until `end`. A plan is the list of output
frames with, for each, the source frames and the timestep it is made from.
"""
import bisect
import dataclasses
import math
from collections.abc import Iterator
from fractions import Fraction

from common.errors import UserError

_SNAP = Fraction(1, 25)  # of a source interval: never taken for rounding of a time stamp beyond this


@dataclasses.dataclass
class SourceTimes:
    """When the source's frames are shown, and how they hang together."""

    time_base: Fraction
    times: list[int]  # strictly increasing
    end: int  # when the last frame ends
    cuts: set[int] = dataclasses.field(default_factory=set)  # k: a new scene starts with frame k
    repeats: dict[int, int] = dataclasses.field(default_factory=dict)  # k: the earlier frame that k shows again

    @property
    def duration(self) -> Fraction:
        return (self.end - self.times[0]) * self.time_base

    @property
    def rate(self) -> Fraction:
        """Average frames per second."""
        return len(self.times) / self.duration


@dataclasses.dataclass(frozen=True)
class Job:
    """One distinct output frame: what lies at `timestep` between two source frames."""

    first: int
    second: int
    timestep: Fraction


@dataclasses.dataclass(frozen=True)
class Shown:
    """An output frame: when it starts, how it is made, and the source frame on the screen at that moment."""

    tick: int
    job: Job
    source: int


@dataclasses.dataclass
class Plan:
    """All output frames. `ticks[i]` is when frame i starts, in `time_base`; the last one ends at `end`.

    The frames of source interval k (from source frame k to k + 1) are `first_of[k]` to `first_of[k + 1]` - 1.
    """

    source: SourceTimes
    time_base: Fraction
    ticks: list[int]
    end: int
    first_of: list[int]
    timesteps: list[Fraction]

    def __len__(self) -> int:
        return len(self.ticks)

    @property
    def rate(self) -> Fraction:
        """Average frames per second."""
        return len(self.ticks) / ((self.end - self.ticks[0]) * self.time_base)

    def segments(self, size: int) -> list[tuple[int, int]]:
        """Ranges of source intervals [a, b) with at least `size` output frames each, but for the last."""
        ranges, start = [], 0
        for k in range(len(self.source.times)):
            if self.first_of[k + 1] - self.first_of[start] >= size:
                ranges.append((start, k + 1))
                start = k + 1
        if self.first_of[start] < len(self) or not ranges:
            ranges.append((start, len(self.source.times)))
        return ranges

    def frames(self, segment: tuple[int, int]) -> Iterator[Shown]:
        """The output frames of source intervals [a, b), in order.

        Depends on nothing but the plan and the segment, so that segments can be made in any order, anywhere.
        """
        chain = _Chain(self.source, segment)
        for k in range(*segment):
            for i in range(self.first_of[k], self.first_of[k + 1]):
                yield Shown(self.ticks[i], chain.job(k, self.timesteps[i]), chain.kept(k))


class _Chain:
    """How the moments of one segment are made: repeats, cuts and the ends of the video are resolved here."""

    def __init__(self, source: SourceTimes, segment: tuple[int, int]):
        self.source = source
        self.start, self.stop = segment
        self.next_kept: dict[int, int] = {}
        following = self.stop
        for k in reversed(range(self.start, self.stop)):
            self.next_kept[k] = following
            if self.kept(k) == k:
                following = k

    def kept(self, k: int) -> int:
        """The frame that stands for k: k, or the earlier one it repeats, but none before the segment."""
        return k if k == self.stop else max(self.source.repeats.get(k, k), self.start)

    def job(self, k: int, timestep: Fraction) -> Job:
        last = len(self.source.times) - 1
        if k == last or timestep == 0:
            return self.still(k)
        if k + 1 in self.source.cuts:
            return self.still(k if timestep <= Fraction(1, 2) else k + 1)
        # At the seam the next segment's first frame stands for itself, yet may repeat this one.
        if self.source.repeats.get(k + 1, k + 1) <= k:
            return self.still(k)
        return Job(self.kept(k), k + 1, timestep)

    def still(self, k: int) -> Job:
        """Source frame k itself, made with a neighbour of the same scene where there is one."""
        source, frame = self.source, self.kept(k)
        following = self.next_kept[k] if k < self.stop else k + 1
        if following < len(source.times) and following not in source.cuts:
            return Job(frame, following, Fraction(0))
        if frame > 0 and frame not in source.cuts:
            before = frame - 1
            return Job(max(source.repeats.get(before, before), min(self.start, before)), frame, Fraction(1))
        return Job(frame, frame, Fraction(0))


def plan_multi(source: SourceTimes, multi: int, slow: bool = False) -> Plan:
    """`multi` output frames for each source frame, evenly spread over the time it is shown.

    The last frame, after which nothing comes, is repeated, so that the result lasts as long as the source.
    `slow`: time is stretched by `multi` instead, and starts at 0.
    """
    edges = [*source.times, source.end]
    ticks = [multi * start + j * (stop - start) for start, stop in zip(edges, edges[1:]) for j in range(multi)]
    plan = Plan(source, source.time_base / multi, ticks, multi * source.end,
                [multi * k for k in range(len(edges))],
                [Fraction(j, multi) for j in range(multi)] * len(source.times))
    return _slowed(plan, Fraction(multi)) if slow else plan


def plan_fps(source: SourceTimes, fps: Fraction, slow: bool = False) -> Plan:
    """Output frames every 1/fps seconds from the first frame's time on; the last one lasts until the source's end.

    A moment within the rounding of a source time stamp (half a tick) is that source frame's.
    `slow`: time is stretched by fps / source rate, so that the rate stays the source's, and starts at 0.

    Raises:
        UserError: fps is less than the source's average rate: frames would have to be thrown away.
    """
    check_fps(fps, source.rate)
    step, start = 1 / fps, source.times[0] * source.time_base
    time_base = _common_tick(step, start) if start else step
    if time_base.denominator >= 1 << 31:
        time_base = step / 1000
        start = round(start / time_base) * time_base
    count = max(1, round(source.duration * fps))
    per_tick, first = int(step / time_base), int(start / time_base)
    ticks = [first + i * per_tick for i in range(count)]
    first_of, timesteps, k = [0], [], 0
    edges = [*source.times, source.end]
    for i in range(count):
        moment = source.times[0] + i * step / source.time_base
        while k < len(source.times) - 1:
            slack = min(Fraction(1, 2), _SNAP * (edges[k + 1] - edges[k]))
            if moment < edges[k + 1] - slack:
                break
            k += 1
            first_of.append(i)
        # Just before the frame's own time, within the slack, counts as its own time.
        past = moment - edges[k]
        slack = min(Fraction(1, 2), _SNAP * (edges[k + 1] - edges[k]))
        timesteps.append(Fraction(0) if past <= slack else min(past / (edges[k + 1] - edges[k]), Fraction(1)))
    first_of += [count] * (len(edges) - len(first_of))
    end = max(ticks[-1] + 1, round((start + source.duration) / time_base))
    plan = Plan(source, time_base, ticks, end, first_of, timesteps)
    return _slowed(plan, fps / source.rate) if slow else plan


def check_fps(fps: Fraction, source_rate: Fraction, slack: Fraction = Fraction(2, 1000)) -> None:
    """Raise UserError if `fps` is below the source's rate by more than `slack` of it (23.976 counts as 24)."""
    if fps * (1 + slack) < source_rate:
        raise UserError(f"--fps {float(fps):g} is below the source's {float(source_rate):.6g} frames per second: "
                        f"frames would be lost; give at least {math.ceil(source_rate)}, or --multi")


def segment_of(plan: Plan, segments: list[tuple[int, int]], output: int) -> int:
    """The number of the segment that makes output frame `output`."""
    return bisect.bisect_right([plan.first_of[a] for a, _ in segments], output) - 1


def encoder_clock(plan: Plan) -> tuple[Fraction, int]:
    """The largest tick in which all frames start, counted from the first: (seconds, ticks of the plan in it).

    A constant frame rate comes out as one tick per frame, which is what encoders like best.
    """
    step = math.gcd(*(tick - plan.ticks[0] for tick in plan.ticks)) or max(1, plan.end - plan.ticks[0])
    return plan.time_base * step, step


def _common_tick(a: Fraction, b: Fraction) -> Fraction:
    """The largest fraction that a and b are whole multiples of."""
    return Fraction(math.gcd(a.numerator * b.denominator, b.numerator * a.denominator), a.denominator * b.denominator)


def _slowed(plan: Plan, factor: Fraction) -> Plan:
    first = plan.ticks[0]
    return dataclasses.replace(plan, time_base=plan.time_base * factor, end=plan.end - first,
                               ticks=[tick - first for tick in plan.ticks])
