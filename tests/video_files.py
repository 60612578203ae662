"""Small real video files for the tests, made with PyAV, and what comes back when they are decoded."""
import hashlib
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from media.video.job import VideoJob
from media.video.options import Options
from media.video.packing import Packing


class BlendPredictor:
    """Stands in for the network: enlarges bicubically and blends; notes what it is asked for.

    stop_after: it is interrupted instead of making more frames than that, as soon as `ready()` (within 20 seconds):
    the encoder works in a thread of its own, and may be late.
    """

    def __init__(self, stop_after: int | None = None, ready: Callable[[], bool] = lambda: True):
        self.encoded: list[np.ndarray] = []
        self.made: list[tuple[int, int, float]] = []
        self.stop_after, self.ready = stop_after, ready

    def encode(self, frame, upscale=4):
        self.encoded.append(frame)
        size = round(frame.shape[1] * upscale), round(frame.shape[0] * upscale)
        return len(self.encoded) - 1, cv2.resize(frame, size, interpolation=cv2.INTER_CUBIC)

    def frames_between(self, pairs, packing=None):
        for first, second, timesteps in pairs:
            if self.stop_after is not None and len(self.made) >= self.stop_after:
                limit = time.monotonic() + 20
                while not self.ready() and time.monotonic() < limit:
                    time.sleep(0.005)
                raise KeyboardInterrupt
            for timestep in timesteps:
                self.made.append((first[0], second[0], timestep))
                yield cv2.addWeighted(first[1], 1 - timestep, second[1], timestep, 0)


def level_picture(level: int, width: int = 48, height: int = 32) -> np.ndarray:
    """A grey picture whose brightness says which frame it is."""
    return np.full((height, width, 3), level, np.uint8)


def moving_picture(position: float, width: int = 48, height: int = 32, seed: int = 0, grey: bool = False) -> np.ndarray:
    """A smooth random texture moved to the right by `position` pixels; another seed is another scene.

    `grey`: without colours, which halved chroma would change.
    """
    noise = np.random.default_rng(seed).integers(0, 256, (height // 4 + 2, 2 * width // 4 + 8, 3)).astype(np.uint8)
    if grey:
        noise = np.repeat(noise[..., :1], 3, 2)
    texture = cv2.resize(noise, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC)
    matrix = np.float32([[1, 0, position - 8], [0, 1, 0]])
    return cv2.warpAffine(texture, matrix, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)


def from_bgr(picture, pix_fmt, described):
    """A BGR picture as an `av.VideoFrame`."""
    return Packing(pix_fmt, described, picture.shape[1], picture.shape[0]).image(picture)


def write_video(path, pictures, times=None, time_base=Fraction(1, 25), codec="libx264", pix_fmt="yuv420p", options=None,
                audio=None, subtitles=None, rotation=None, chapters=None, metadata=None, tags=None, aspect=None,
                rate=None):
    """Write BGR pictures (or ready `av.VideoFrame`s), shown at `times` (ticks of time_base), the last for one tick more
    than before. audio: seconds of a tone, in `audio[1]`'s codec. subtitles: (start ms, length ms, text) list."""
    times = list(times if times is not None else range(len(pictures)))
    options = {"crf": "10", "preset": "veryfast"} if options is None and codec == "libx264" else options or {}
    with av.open(str(path), "w") as container:
        container.metadata.update(metadata or {})
        video = container.add_stream(codec, rate=rate or Fraction(1 / time_base), options=options)
        first = pictures[0]
        video.height, video.width = (first.height, first.width) if isinstance(first, av.VideoFrame) else first.shape[:2]
        video.pix_fmt = pix_fmt
        video.codec_context.time_base = time_base
        for name, value in (tags or {}).items():
            setattr(video.codec_context, name, value)
        if aspect:
            video.codec_context.sample_aspect_ratio = aspect
        if rotation:
            if not hasattr(video, "set_display_rotation"):
                pytest.skip("PyAV writes how a video is turned from 18 on")
            video.set_display_rotation(rotation)
        sound = container.add_stream(audio[1], rate=8000 if audio[1] != "libopus" else 48000) if audio else None
        text = None
        if subtitles:
            text = container.add_mux_stream("subrip")
            text.time_base = Fraction(1, 1000)
            text.metadata["language"] = "deu"
        if chapters:
            container.set_chapters(chapters)
        for picture, time, following in zip(pictures, times, [*times[1:], 2 * times[-1] - (times[-2:-1] or [-1])[0]]):
            frame = picture if isinstance(picture, av.VideoFrame) else av.VideoFrame.from_ndarray(picture, "bgr24")
            frame.pts, frame.time_base, frame.duration = time, time_base, following - time
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if sound is not None:
            rate = sound.codec_context.sample_rate
            layout = sound.codec_context.layout.name
            wave = (8000 * np.sin(np.arange(int(audio[0] * rate)) / 10)).astype(np.int16)
            wave = np.repeat(wave, 2)[None] if layout == "stereo" else wave[None]
            frame = av.AudioFrame.from_ndarray(wave, "s16", layout)
            frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
            container.mux(sound.encode(frame))
            container.mux(sound.encode(None))
        for start, length, line in subtitles or []:
            packet = av.Packet(line.encode())
            packet.pts = packet.dts = start
            packet.duration, packet.time_base, packet.stream = length, Fraction(1, 1000), text
            container.mux(packet)
    return Path(path)


def write_levels(path, count=6, step=20, **more):
    """A video of grey frames: the first of level 40, each `step` levels brighter."""
    assert 40 + step * (count - 1) <= 255
    return write_video(path, [level_picture(40 + step * k) for k in range(count)], **more)


def decode(path, stream=0):
    """[(time in seconds, BGR picture)] of a video stream."""
    with av.open(str(path)) as container:
        return [(frame.pts * frame.time_base, frame.to_ndarray(format="bgr24"))
                for frame in container.decode(video=stream)]


def packets(path, kind):
    """[(time in seconds, hash)] of the packets of the first stream of a kind."""
    with av.open(str(path)) as container:
        stream = next(s for s in container.streams if s.type == kind)
        return [(packet.pts * packet.time_base, hashlib.sha256(bytes(packet)).hexdigest())
                for packet in container.demux(stream) if packet.size]


def end_of(path):
    """When the last video frame ends by its packet, in seconds."""
    with av.open(str(path)) as container:
        return max((packet.pts + packet.duration) * packet.time_base
                   for packet in container.demux(video=0) if packet.size)


def run(source, output, predictor=None, fps_in=Fraction(25), **options):  # noqa: B008
    """Make a video; the notes it gives come back."""
    notes = []
    options = {"upscale": 1, **options}
    VideoJob(source, output, Options(**options), fps_in).run(predictor or BlendPredictor(), say=notes.append)
    assert output.exists() and not output.with_name(output.name + ".parts").exists()
    return "\n".join(notes)


def times(path):
    return [time for time, _ in decode(path)]


def levels(path, columns=slice(None)):
    """Grey levels from the luma codes themselves (limited range): libav's own way to BGR is off by up to three."""
    with av.open(str(path)) as container:
        lumas = [np.frombuffer(frame.planes[0], np.uint8).reshape(frame.height, -1)[:, :frame.width][:, columns]
                 for frame in (frame.reformat(format="yuv420p") for frame in container.decode(video=0))]
    return [round((float(luma.mean()) - 16) * 255 / 219) for luma in lumas]


def near(found, expected, by=2):
    assert len(found) == len(expected) and max(abs(a - b) for a, b in zip(found, expected)) <= by, (found, expected)
