"""Generated scenes whose layers move by a known number of pixels: large motion with exact ground truth.

    python3 -m benchmark.synthetic --motion 20 40 --json synthetic.json
    python3 -m benchmark.synthetic --motion 20 40 --photos photos --val_photos 'kodak_*' --method flow

Scenes are those that training's `synthetic` makes (textured layers on smooth paths before a moving background), with
other textures than training sees. Camera and layers move by --motion pixels from the first frame to the last, at the
size of the frames that are scored; frames 0, 1/N, 2/N ... of the way are scored, the first and the last (1) go in.
Predictions are not rounded. The same options give the same scenes on every machine.
"""
import argparse
from pathlib import Path

import numpy as np

from benchmark.clips import Clip, VideoFrame, sliding_clips
from benchmark.folder import gap, timestep_protocol
from benchmark.protocol import Protocol, build_parser, main_of
from common import cli
from common.errors import UserError
from data.layers import render
from data.synthetic import Synthetic


class Scene:
    """A generated scene as a video of `gap` + 1 frames, drawn when they are read."""

    def __init__(self, name: str, scenes: Synthetic, seed: int, gap: int) -> None:
        self.name, self._scenes, self._seed, self._gap = name, scenes, seed, gap

    def __len__(self) -> int:
        return self._gap + 1

    def size(self) -> tuple[int, int]:
        """(height, width) of the frames."""
        return self._scenes.crop, self._scenes.crop

    def read(self, indices: list[int]) -> list[np.ndarray]:
        """The frames at `indices`, HxWx3 uint8 BGR each."""
        layers = self._scenes.scene(np.random.default_rng([2, self._seed]))
        return [render(layers, index / self._gap, self._scenes.crop) for index in indices]

    def origin(self, index: int) -> str:
        """A digest of the textures; the protocol says the rest."""
        return self._scenes.textures_digest


def protocol_and_clips(args: argparse.Namespace) -> tuple[Protocol, list[Clip]]:
    least, most = args.motion
    if least > most:
        raise UserError(f"--motion {least:g} {most:g}: the smaller number comes first")
    scenes = Synthetic(args.size, "val", args.photos, val_photos=args.val_photos, motion=(least, most))
    clips = []
    for seed in range(args.scenes):
        scene = Scene(f"{seed:04d}", scenes, seed, args.gap)
        clips += sliding_clips(scene.name, [VideoFrame(scene, index) for index in range(len(scene))], args.gap)
    textures = f"photos of {', '.join(folder.name for folder in args.photos)}" if args.photos else "procedural textures"
    footage = f"{args.scenes} scenes of {args.size}x{args.size}, {textures}, motion of {least:g} to {most:g} pixels"
    return timestep_protocol("synthetic", f"motion{least:g}-{most:g}", args.gap, footage), clips


parser = build_parser(__doc__, None)
group = parser.add_argument_group("scenes")
group.add_argument("--motion", type=cli.positive_number, nargs=2, default=[20.0, 40.0], metavar=("LEAST", "MOST"),
                   help="pixels that camera and layers move from the first frame to the last (default 20 40)")
group.add_argument("--gap", type=gap, default=4, metavar="N", help="frames from the first to the last (default 4: "
                   "timesteps 0, 1/4, 1/2, 3/4)")
group.add_argument("--scenes", type=cli.positive_int, default=50, metavar="N", help="how many (default 50)")
group.add_argument("--size", type=cli.positive_int, default=256, metavar="N",
                   help="side of the frames, a multiple of 4 (default 256)")
group.add_argument("--photos", type=Path, nargs="+", default=[], metavar="DIR",
                   help="folders of photos for the textures (default: procedural textures)")
group.add_argument("--val_photos", nargs="+", default=[], metavar="PATTERN",
                   help="only photos of such names ('kodak_*'), as in training (default: every tenth)")
main = main_of(parser, protocol_and_clips)

if __name__ == "__main__":
    cli.run(main)
