"""Files the tests of the datasets are run on."""
from pathlib import Path

import av
import cv2
import numpy as np

from data.adobe240 import LISTS

HEIGHT, WIDTH = 40, 56


def numbered_frame(number: int) -> np.ndarray:
    """B is ten times the frame's number, G is 100 + x, R is 160 + y: every pixel says when and where it is from."""
    frame = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    frame[..., 0] = 10 * number
    frame[..., 1] = 100 + np.arange(WIDTH)
    frame[..., 2] = 160 + np.arange(HEIGHT)[:, None]
    return frame


def write_frames(folder: Path, numbers, name="{}.png") -> Path:
    folder.mkdir(parents=True)
    for number in numbers:
        cv2.imwrite(str(folder / name.format(number)), numbered_frame(number % 25))
    return folder


def write_video(path: Path, count: int, size=(64, 48)) -> Path:
    """Gray frames of brightness 6 n, with a square that moves a pixel a frame; key frames are rare, B frames there."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", 30)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.options = {"g": "12", "bf": "2", "crf": "1"}
        for number in range(count):
            planes = np.full((size[1] * 3 // 2, size[0]), 128, np.uint8)  # Y over the two halved colour planes
            planes[:size[1]] = round(16 + 6 * number * 219 / 255)
            planes[10:30, 8 + number % 40:16 + number % 40] = 200
            for packet in stream.encode(av.VideoFrame.from_ndarray(planes, "yuv420p")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


def make_adobe(root: Path) -> Path:
    """Two videos to train on and one to validate with, in the field's layout."""
    write_frames(root / "frame/train/GOPR1", range(12))
    write_frames(root / "frame/train/IMG_2", range(9))
    write_frames(root / "frame/valid/IMG_3", range(10))
    (root / LISTS["train"]).write_text("GOPR1\nIMG_2\n")
    (root / LISTS["val"]).write_text("IMG_3\n")
    return root
