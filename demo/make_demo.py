"""Make the demo's images again: the true frames, and from them the pair that the network gets.

    python3 -m demo.make_demo            # about half a minute
"""
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from common import cli
from common.files import atomic_path
from demo.scene import build, render
from media.image import read_image, write_image
from media.resize import low_resolution

FOLDER = Path(__file__).resolve().parent
TRUTHS = {0.0: "truth_000.webp", 0.25: "truth_025.webp", 0.5: "truth_050.webp", 0.75: "truth_075.webp",
          1.0: "truth_100.webp"}
PAIR = {0.0: "i0.png", 1.0: "i1.png"}


def reduced(truth: np.ndarray) -> np.ndarray:
    """The network's input for a true frame: a quarter of its size, MATLAB-style bicubic, rounded to 8 bits."""
    return low_resolution(truth, 4, rounded=True)


def main() -> None:
    cli.Parser(description=__doc__).parse_args()
    layers = build()
    for t, name in tqdm(TRUTHS.items(), desc="frames"):
        # Stored at a high but not lossless quality, for the size's sake. What is stored is the truth:
        # the pair is made from it as it is read back.
        _, encoded = cv2.imencode(".webp", render(layers, t), [cv2.IMWRITE_WEBP_QUALITY, 98])
        with atomic_path(FOLDER / name) as temporary:
            temporary.write_bytes(encoded.tobytes())
        if t in PAIR:
            write_image(FOLDER / PAIR[t], reduced(read_image(FOLDER / name)))
    print(f"Wrote {len(TRUTHS)} true frames and {' and '.join(PAIR.values())} to {FOLDER}")


if __name__ == "__main__":
    cli.run(main)
