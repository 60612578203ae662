"""What a user can ask for; `inference_video.py` has an option of the same name for each."""
import dataclasses
from fractions import Fraction

from common.errors import UserError
from media.video.deinterlace import MODES
from media.video.scene_cuts import DEFAULT_THRESHOLD

MOST_MULTI = 1024


@dataclasses.dataclass(frozen=True)
class Options:
    """What is to be made of a video; the command line's names and meanings.

    Raises:
        UserError: a value that nothing can be made of.
    """

    multi: int | None = None  # see `media.video.timeline.make_plan` for these four
    fps: Fraction | None = None
    slowmo: bool = False
    dedup: int = 0
    start: Fraction | None = None  # seconds
    end: Fraction | None = None
    deinterlace: str | None = None  # one of `media.video.deinterlace.MODES`
    upscale: float = 4
    png: bool = False
    montage: bool = False
    codec: str | None = None  # None: see `media.video.codecs.default_codec`
    crf: float | None = None
    preset: str | None = None
    pix_fmt: str | None = None
    audio: bool = True
    audio_codec: str | None = None  # None: sound is copied where the container holds it
    strict_streams: bool = False  # refuse to leave a stream out
    scene_threshold: float = DEFAULT_THRESHOLD
    segment: int = 240  # output frames in a segment, at least

    def __post_init__(self) -> None:
        if not 1 <= self.upscale <= 8:
            raise UserError(f"--upscale {self.upscale:g} is not between 1 and 8")
        if self.multi is not None and not 1 <= self.multi <= MOST_MULTI:
            raise UserError(f"--multi {self.multi} is not between 1 and {MOST_MULTI}")
        if self.fps is not None and not 0 < self.fps <= 10000:
            raise UserError(f"--fps {float(self.fps):g} is not a frame rate")
        if self.slowmo and self.multi is not None and self.fps is not None:
            raise UserError("--multi with --fps is slow motion of its own: leave --slowmo out, or one of the two")
        if self.dedup < 0:
            raise UserError(f"--dedup {self.dedup} is not at least 0")
        if self.deinterlace is not None and self.deinterlace not in MODES:
            raise UserError(f"--deinterlace {self.deinterlace} is not one of {', '.join(MODES)}")
        if (self.start or 0) < 0 or self.end is not None and self.end <= (self.start or 0):
            raise UserError("--end has to be after --start, and --start not before 0")
        if not 0 <= self.scene_threshold <= 1:
            raise UserError(f"--scene_threshold {self.scene_threshold:g} is not between 0 and 1")
        if self.segment < 1:
            raise UserError(f"--segment {self.segment} is not at least 1")
