"""Which output frame is shown when, and what it is made of: the plan of a video, as pure functions.

Times are whole ticks of a time base. Nothing is rounded on the way; only a tick that no container can hold is
replaced by one that fits, at the very end (`_storable`).
"""
import dataclasses
import itertools
import math
from collections.abc import Iterable, Iterator
from fractions import Fraction

from common.errors import UserError
from media.video.source_times import SourceTimes, common_tick, neat_rate

DEFAULT_MULTI = 2
_SNAP = 25  # a time stamp is never taken to be rounded by more than 1/25 of the time its frame is shown
_FINEST = 10**9  # ticks per second; libav's numbers have 31 bits, and encoders for VP9 take no more than this
_COARSEST = (1 << 16) - 1  # ticks per second that any encoder takes: MPEG-4's numbers have 16 bits


@dataclasses.dataclass(frozen=True)
class Interpolation:
    """How a distinct output frame is made: what lies at `timestep` between two source frames, given by number."""

    first: int
    second: int
    timestep: Fraction


@dataclasses.dataclass(frozen=True)
class OutputFrame:
    """When an output frame starts, how it is made, and the source frame on the screen at that time."""

    tick: int
    made_as: Interpolation
    on_screen: int


@dataclasses.dataclass
class Plan:
    """All output frames. `ticks[i]` is when frame i starts, in `time_base`; the last one ends at `end`.

    The frames of source interval k are `first_of[k]` to `first_of[k + 1]` - 1; `timesteps[i]` is frame i's place in
    its interval. Time runs `stretch` times as slowly as in the source.
    """

    source: SourceTimes
    time_base: Fraction
    ticks: list[int]
    end: int
    first_of: list[int]
    timesteps: list[Fraction]
    stretch: Fraction = Fraction(1)

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

    def frames(self, segment: tuple[int, int]) -> Iterator[OutputFrame]:
        """The output frames of source intervals [a, b), in order.

        Depends on nothing but the plan and the segment, so that segments can be made in any order, anywhere.
        """
        neighbours = _Neighbours(self.source, *segment)
        numbers = self.source.numbers
        for k in range(*segment):
            on_screen = numbers[neighbours.same[k]]
            for i in range(self.first_of[k], self.first_of[k + 1]):
                first, second, timestep = neighbours.pair(k, self.timesteps[i])
                yield OutputFrame(self.ticks[i], Interpolation(numbers[first], numbers[second], timestep), on_screen)


class _Neighbours:
    """Between which frames a segment's output frames lie, whatever repeats, cuts and the ends of the video do.

    same[k]: the frame that stands for k: the one it repeats, but none before the segment.
    following[k]: the next frame after k that shows something else.
    Both go up to k = stop, the next segment's first frame, which stands for itself.
    """

    def __init__(self, source: SourceTimes, start: int, stop: int):
        self.source, self.start = source, start
        self.same = {k: max(source.repeats.get(k, k), start) for k in range(start, stop)}
        self.same[stop] = stop
        self.following = {stop: stop + 1}
        for k in reversed(range(start, stop)):
            self.following[k] = k + 1 if self.same[k + 1] == k + 1 else self.following[k + 1]

    def pair(self, k: int, timestep: Fraction) -> tuple[int, int, Fraction]:
        """(first frame, second frame, timestep between them) for a timestep of source interval k."""
        if k + 1 in self.source.cuts:
            return self.still(k if timestep <= Fraction(1, 2) else k + 1)
        if timestep == 0 or k + 1 in self.source.repeats or k + 1 == len(self.source.times):
            return self.still(k)
        return self.same[k], k + 1, timestep

    def still(self, k: int) -> tuple[int, int, Fraction]:
        """Source frame k itself, made with a neighbour of the same scene where there is one."""
        source, frame, following = self.source, self.same[k], self.following[k]
        if following < len(source.times) and following not in source.cuts:
            return frame, following, Fraction(0)
        if frame > 0 and frame not in source.cuts:
            before = frame - 1  # or what it repeats, as far as the segment goes back
            return max(source.repeats.get(before, before), min(self.start, before)), frame, Fraction(1)
        return frame, frame, Fraction(0)


def make_plan(source: SourceTimes, multi: int | None = None, fps: Fraction | None = None, slow: bool = False,
              dedup: int = 0) -> Plan:
    """Plan the output frames of a video.

    Args:
        multi: so many output frames for each source frame, evenly spread over the time it is shown; the last frame,
            after which nothing comes, is repeated, so that the result lasts as long as the source.
        fps: an output frame every 1 / fps seconds from the first frame's time on; the last one lasts until the
            source's end. Neither of the two: `multi` is DEFAULT_MULTI. Both: `multi` frames for each source frame
            on average, shown at `fps`, so that time is stretched by multi * rate of the source / fps.
        slow: stretch time so that the frame rate stays the source's.
        dedup: up to so many repeats of a frame count as the frame being shown for longer: see `without_repeats`.

    Stretched time starts at 0. A time within the rounding of a source time stamp (half a tick) is that frame's.

    Raises:
        UserError: fewer frames than the source has, some of which would have to be thrown away.
    """
    material = source.without_repeats(dedup) if dedup else source
    rate = neat_rate(source.rate)
    if fps is not None and multi is not None and abs(multi * rate / fps - 1) < Fraction(2, 1000):
        multi = None  # the same rate, so that time is not stretched
    if fps is None:
        multi = multi or DEFAULT_MULTI
        unit, per_tick = source.time_base / multi, multi
        ticks = [multi * start + j * (stop - start)
                 for start, stop in itertools.pairwise([*source.times, source.end]) for j in range(multi)]
        stretch = Fraction(multi if slow else 1)
    else:
        sampled = fps if multi is None else multi * rate  # output frames per second of the source
        check_fps(sampled, material.rate)
        unit = common_tick(source.time_base, 1 / sampled)
        per_tick, per_frame = int(source.time_base / unit), int(1 / sampled / unit)
        ticks = [per_tick * source.times[0] + i * per_frame for i in range(max(1, round(source.duration * sampled)))]
        stretch = sampled / fps if multi is not None else fps / rate if slow else Fraction(1)
    first_of, timesteps = _places(ticks, [per_tick * time for time in [*material.times, source.end]],
                                  slack=per_tick // 2 if fps is not None else 0)
    offset = ticks[0] if stretch != 1 else 0
    time_base, ticks, end = _storable(unit * stretch, [tick - offset for tick in ticks], per_tick * source.end - offset)
    return Plan(material, time_base, ticks, end, first_of, timesteps, stretch)


def _places(ticks: list[int], edges: list[int], slack: int) -> tuple[list[int], list[Fraction]]:
    """`first_of` and `timesteps` of a plan: for each output frame the source interval and the place in it.

    In interval k, timestep = (tick - edges[k]) / (edges[k + 1] - edges[k]). An interval starts earlier by the
    slack, and by no more than 1 / _SNAP of its own length; what lies within the slack of its start is at 0.
    """
    slacks = [min(slack, (stop - start) // _SNAP) for start, stop in itertools.pairwise(edges)]
    first_of, timesteps, k = [0], [], 0
    for i, tick in enumerate(ticks):
        while k + 2 < len(edges) and tick >= edges[k + 1] - slacks[k]:
            k += 1
            first_of.append(i)
        past = max(0, tick - edges[k])
        timesteps.append(Fraction(past if past > slacks[k] else 0, edges[k + 1] - edges[k]))
    return first_of + [len(ticks)] * (len(edges) - len(first_of)), timesteps


def _storable(time_base: Fraction, ticks: list[int], end: int) -> tuple[Fraction, list[int], int]:
    """The same times in a time base that containers and encoders can hold.

    If the given one is too fine, the distances of the frames stay exact if their common step can be held: only the
    beginning moves, by less than a thousandth of it. What is left is rounded to microseconds.
    """
    def fits(tick: Fraction) -> bool:
        return tick.denominator <= _FINEST and tick.numerator < 1 << 31

    if fits(time_base):
        return time_base, ticks, end
    start = ticks[0]
    step = math.gcd(*(tick - start for tick in ticks)) or end - start
    for parts in (1000, 1):
        fine = time_base * step / parts
        if fits(fine):
            first = round(start * time_base / fine)
            exact = [first + (tick - start) // step * parts for tick in ticks]
            return fine, exact, max(exact[-1] + 1, first + round((end - start) * time_base / fine))
    fine = Fraction(1, 1_000_000)
    *rounded, end = _increasing(round(tick * time_base / fine) for tick in [*ticks, end])
    return fine, rounded, end


def check_fps(fps: Fraction, source_rate: Fraction) -> None:
    """Raise UserError if `fps` is below the source's rate by more than 0.2% of it (23.976 counts as 24)."""
    if fps * Fraction(1002, 1000) < source_rate:
        raise UserError(f"--fps {float(fps):g} is below the source's {float(source_rate):.6g} frames per second: "
                        f"frames would be lost; give at least {math.ceil(source_rate)}, or --multi")


def encoder_clock(plan: Plan) -> tuple[Fraction, Fraction, list[int]]:
    """The clock an encoder is given: (seconds per tick, frames per second, each frame's time counted from the first).

    A constant frame rate comes out as one tick per frame, which is what encoders like best. At variable rates the
    tick is the largest that all times are multiples of, or, where that is too fine for some encoders, a round one:
    rate control goes by this clock, while the real times are put in when the segments are joined.
    """
    since = [tick - plan.ticks[0] for tick in plan.ticks]
    step = math.gcd(*since) or max(1, plan.end - plan.ticks[0])
    clock, times = plan.time_base * step, [time // step for time in since]
    if len(times) > 1 and times[-1] == len(times) - 1:
        return clock, 1 / clock, times
    if clock.denominator > _COARSEST:
        clock = Fraction(1, 50_000)
        times = _increasing(round(time * plan.time_base / clock) for time in since)
    return clock, plan.rate.limit_denominator(1 << 16), times


def _increasing(times: Iterable[int]) -> list[int]:
    """The same times, those put off that are not after the one before."""
    return list(itertools.accumulate(times, lambda before, time: max(time, before + 1)))
