"""The first look through a whole video: when its frames are shown, where scenes change, what repeats."""
import collections
import dataclasses
import itertools
import statistics
from collections.abc import Callable
from fractions import Fraction

from common.errors import UserError
from media.video.decode import Stamp, VideoSource
from media.video.image_sequence import ImageSequence
from media.video.packets import SET_BACK
from media.video.scene_cuts import relations
from media.video.source_times import SourceTimes

_REORDERED = 16  # by how many places codecs may store a frame away from its turn


@dataclasses.dataclass
class Survey:
    """What is known of a source after decoding it once."""

    times: SourceTimes
    stamps: list[int] | None  # the file's own times, by which frames are found; None where it has no usable ones
    notes: list[str]  # things to tell the user

    def to_json(self) -> dict:
        times = self.times
        return {"time_base": str(times.time_base), "times": times.times, "end": times.end, "cuts": sorted(times.cuts),
                "repeats": sorted(times.repeats.items()), "alike": sorted(times.alike.items()),
                "stamps": self.stamps, "notes": self.notes}

    @classmethod
    def from_json(cls, data: dict) -> "Survey":
        times = SourceTimes(Fraction(data["time_base"]), data["times"], data["end"], set(data["cuts"]),
                            dict(data["repeats"]), dict(data["alike"]))
        return cls(times, data["stamps"], data["notes"])


def survey(source: VideoSource | ImageSequence, threshold: float, by_eye: bool = False, since: int | None = None,
           until: int | None = None, step: Callable[[], object] = lambda: None) -> Survey:
    """Decode the source from end to end, a frame at a time; `step` is called for each.

    Of a file that is cut off, what can be decoded whole is taken, and a note says so.

    Args:
        threshold, by_eye: see `media.video.scene_cuts.relations`.
        since, until: times in ticks of the source, outside of which frames may be left out.
    """
    found = _survey(source, threshold, by_eye, since, until, step)
    if found.stamps is None and since is not None:  # frames are counted from the beginning then
        found = _survey(source, threshold, by_eye, None, until, step)
    return dataclasses.replace(found, notes=list(dict.fromkeys(found.notes)))


def _survey(source: VideoSource | ImageSequence, threshold: float, by_eye: bool, since: int | None, until: int | None,
            step: Callable[[], object]) -> Survey:
    stamps: list[Stamp] = []

    def planes_of_frames():
        for stamp, planes in source.scan(since, until):
            stamps.append(stamp)
            step()
            yield planes

    found = list(relations(planes_of_frames(), threshold, source.format.depth, by_eye))
    while len(stamps) > 1 and stamps[-1].corrupt:
        stamps.pop()
    if not stamps:
        raise UserError(f"no frame of {source.path} can be decoded")
    times, exact = _increasing(stamps, source)
    end = times[-1] + _last_duration(times, stamps[-1].duration, source)
    notes = list(source.notes)
    if source.declared is not None and until is None:
        missing = source.declared - end * source.time_base
        if missing > Fraction(1, 10) and missing > 2 / source.rate:
            notes.append(f"the file is cut off or damaged: {float(end * source.time_base):.2f} of "
                         f"{float(source.declared):.2f} seconds can be read, and are used")
    if not exact:
        notes.append("time stamps are missing or run backwards; they are put in order")
    known = dict(enumerate(found[:len(times)]))
    whole = SourceTimes(source.time_base, times, end, {k for k, relation in known.items() if relation.is_cut},
                        {k: relation.repeats for k, relation in known.items() if relation.repeats is not None},
                        {k: relation.alike for k, relation in known.items() if relation.alike is not None})
    return Survey(whole.regular(source.rate), times if exact else None, notes)


def _increasing(stamps: list[Stamp], source: VideoSource | ImageSequence) -> tuple[list[int], bool]:
    """Strictly increasing times, and whether they are the file's own."""
    usual = max(1, round(1 / (source.rate * source.time_base)))
    lasting = [stamp.duration or usual for stamp in stamps]
    found: list[int | None] = [stamp.pts for stamp in stamps]
    known = [time for time in found if time is not None]
    if len(known) == len(found):
        found = _going_on(known, lasting, usual, int(SET_BACK / source.time_base))
    times: list[int] = []
    for time, length in zip(found, lasting):
        if time is None or times and time <= times[-1]:
            time = times[-1] + length if times else 0
        times.append(time)
    return times, times == [stamp.pts for stamp in stamps]


def _going_on(times: list[int], lasting: list[int], usual: int, limit: int) -> list[int | None]:
    """Put times in order, and those after a clock was set back behind the ones before, as sound is.

    It is set back where a frame comes more than `limit` ticks before the end of what was shown, among times shown
    already, and the next one goes on from there. Frames that are numbered out of turn are followed by one later than
    all before, or by one still earlier.
    """
    starts, latest, before = [0], times[0], times[0]  # the latest time shown, and the one before it
    for k, (time, following) in enumerate(itertools.pairwise(times[1:]), 1):
        if latest + lasting[k - 1] - time > limit and time <= before and time < following <= latest:
            starts.append(k)
            latest = before = time
        latest, before = max(latest, time), max(before, min(latest, time))
    found: list[int | None] = []
    end = None
    for start, stop in itertools.pairwise([*starts, len(times)]):
        ordered = _in_order(times[start:stop], usual)
        shift = 0 if end is None else end - ordered[0]
        found += [time + shift for time in ordered]
        end = ordered[-1] + shift + lasting[stop - 1]
    return found


def _in_order(times: list[int], usual: int) -> list[int]:
    """Sort times that are only out of order among neighbours; frames of the same time share the time until the next.

    Decoders give frames in the order they are shown, but AVI files number them in the order they are stored.
    """
    order = sorted(range(len(times)), key=times.__getitem__)
    if any(abs(place - k) > _REORDERED for place, k in enumerate(order)):
        return times  # some are wrong
    count = collections.Counter(times)
    starts = sorted(count)
    return [start + k * (following - start) // count[start]
            for start, following in zip(starts, [*starts[1:], starts[-1] + usual * count[starts[-1]]])
            for k in range(count[start])]


def _last_duration(times: list[int], duration: int, source: VideoSource | ImageSequence) -> int:
    """For how many ticks the last frame is shown: by its packet, or by the header, or as long as most."""
    gaps = [b - a for a, b in zip(times, times[1:])] or [max(1, round(1 / (source.rate * source.time_base)))]
    if duration > 0:
        return duration
    if source.declared is not None:
        left = round(source.declared / source.time_base) - times[-1]
        if 0 < left <= 2 * max(gaps):
            return left
    return max(1, round(statistics.median(gaps)))
