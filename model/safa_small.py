"""safa_small, for everyday use: the paper's three rooms, all at low resolution. Assembly only.

It keeps SAFA's plan (encoder, flow estimated by blocks at several scales that a selector may leave out, decoder of a
residual image) and gives up its working at output resolution: a sixth to a fifteenth of the multiply-adds. What that
loses, a decoder of each frame's own detail gives back: frames are sharp before they are warped, and the finest block
and the decoder go by what they differ by then.
"""
from collections.abc import Sequence

import torch
import torch.nn.functional as F

from model.block_input import FLOW1, MASK
from model.decoder import PLANES, PlainDecoder
from model.encoder import PlainEncoder
from model.frames import compare, compared_channels, warp_frames
from model.layout import first_convolution, joined
from model.network import UPSCALE, Cost, Network, Prediction, upsample
from model.routing import BY_SELECTOR, Routing
from model.small_flow import BLOCKS, CoarseToFineFlow, at_output_resolution, exact_at_ends, matches
from model.warp import backward_warp


class SAFASmall(Network):
    """The small network. Working frames are the low-resolution frames; four times is native, other enlargements
    are that result resized.

    Args:
        channels: width of all features.
        encoder_depth, detail_depth, flow_depth, decoder_depth: residual blocks of the encoder, of the decoder of a
            frame's own detail, of each block of the flow estimation, of the decoder of what is left.
    """

    name = "safa_small"
    factor = UPSCALE
    multiple = 4  # the coarsest blocks work at a quarter
    # What a tile does not see moves its flows far inside: 2816x1920 in tiles of 1024 is 43.6 dB from the whole with
    # this overlap and 34.8 with 128 (a frame of Vid4's city, taken as the low-resolution one; bf16).
    overlap = 384
    tile = 2048
    whole_pixels = 10 * 1024 * 1024
    batch_pixels = 1024 * 1024
    bytes_per_pixel = 200
    parts = ("encoder", "detail", "decoder")
    restores = True
    blocks = 1  # the selector decides once

    def __init__(self, channels: int = 64, encoder_depth: int = 2, detail_depth: int = 6, flow_depth: int = 2,
                 decoder_depth: int = 2):
        super().__init__()
        self.settings = {"channels": channels, "encoder_depth": encoder_depth, "detail_depth": detail_depth,
                         "flow_depth": flow_depth, "decoder_depth": decoder_depth}
        self.encoder = PlainEncoder(channels, encoder_depth)
        self.detail = PlainDecoder(channels, channels, detail_depth)
        self.flow = CoarseToFineFlow(channels, flow_depth)
        self.decoder = PlainDecoder(channels + 1 + compared_channels(3, UPSCALE), channels, decoder_depth)

    def working_frames(self, frames: torch.Tensor, size: tuple[int, int], peak: int | None = None) -> torch.Tensor:
        return frames

    def encode(self, working: torch.Tensor) -> torch.Tensor:
        """Frames (N, 3, h, w) to features and the detail that bicubic enlargement lacks, (N, channels + 48, h, w)."""
        first = first_convolution(self.encoder)
        features = self.encoder(joined([working.to(first.weight.dtype)], first.in_channels))
        return joined((features, self.detail(features)), features.shape[1] + PLANES)

    def restore(self, working: torch.Tensor, encoded: torch.Tensor, other_working: torch.Tensor,
                other_encoded: torch.Tensor, routing: Routing = BY_SELECTOR) -> Prediction:
        """The frames with their own detail, and with what the other ones show of it.

        It is sharp frames that are compared, at output resolution: features warped by a fraction of a low-resolution
        pixel are means of neighbours, from which detail can no longer be told.
        """
        (features, own), (others, other) = (self._sharp(*frames) for frames in
                                            ((working, encoded), (other_working, other_encoded)))
        here = torch.zeros(len(own), 1, device=own.device)
        state, feature, used, flows, bits = self.flow((own, other), features, others, here, routing)
        large = at_output_resolution(state)
        mask = torch.sigmoid(large[:, MASK])
        warped = backward_warp(other, large[:, FLOW1])
        mixed = torch.lerp(warped, own, mask)
        residual = self.decoder(joined((feature, torch.sigmoid(state[:, MASK]),
                                        *compare(own, warped, mixed, UPSCALE, feature.dtype)),
                                       first_convolution(self.decoder).in_channels))
        frames = mixed.add_(F.pixel_shuffle(residual, UPSCALE)).clamp_(0, 1)
        return Prediction(frames, large[:, :4], mask, used, flows, self._effort(bits))

    def interpolate(self, frames0: torch.Tensor, frames1: torch.Tensor, features0: torch.Tensor,
                    features1: torch.Tensor, timesteps: torch.Tensor, routing: Routing = BY_SELECTOR) -> Prediction:
        features0, features1 = (self._parted(encoded)[0] for encoded in (features0, features1))
        state, _, used, flows, bits = self.flow((frames0, frames1), features0, features1, timesteps, routing)
        large = at_output_resolution(exact_at_ends(state, timesteps))
        mask = torch.sigmoid(large[:, MASK])
        warped0, warped1 = warp_frames(frames0, frames1, large)
        return Prediction(torch.lerp(warped1, warped0, mask), large[:, :4], mask, used, flows, self._effort(bits))

    def _parted(self, encoded: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Features, dense as convolutions want them, and detail."""
        features, detail = encoded.split((encoded.shape[1] - PLANES, PLANES), 1)
        return features.contiguous(memory_format=torch.channels_last), detail

    def _sharp(self, frames: torch.Tensor, encoded: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Features of frames (N, 3, h, w), and the frames enlarged, with the detail that their own pixels tell."""
        features, detail = self._parted(encoded)
        size = UPSCALE * frames.shape[2], UPSCALE * frames.shape[3]
        return features, upsample(frames, size).add_(F.pixel_shuffle(detail, UPSCALE))

    def scales_at(self, scale: int) -> list[int]:
        return [own if own >= scale else 0 for own, _ in BLOCKS]  # finer blocks than that are left out

    def multiply_adds(self, height: int, width: int, scales: list[list[int]], restoring: Sequence[int] = ()) -> Cost:
        c, pixels = self.settings["channels"], height / UPSCALE * width / UPSCALE
        skip = 2 * 9 * c * c
        encoder = 9 * 3 * c + self.settings["encoder_depth"] * skip
        detail = 9 * c * c + self.settings["detail_depth"] * skip + 9 * c * PLANES
        decoder = (9 * (c + 1 + compared_channels(3, UPSCALE)) * c + self.settings["decoder_depth"] * skip
                   + 9 * c * PLANES)
        fuse, selector = 2 * c * c, ((3 * c + 6) * c + c * c) / 4**2  # the selector looks at a quarter
        blocks = self._block_costs()

        def flow(used: Sequence[int]) -> float:
            return selector + sum(cost for cost, scale in zip(blocks, used) if scale) if used else 0

        frame = encoder + detail + fuse + flow(restoring or self.scales_at(1)) + decoder
        return Cost(pixels * frame, pixels * fuse, [pixels * flow(used) for used in scales])

    def _block_costs(self) -> list[float]:
        """Multiply-adds of each block for a low-resolution pixel."""
        c, costs = self.settings["channels"], []
        for block, (scale, radius) in zip(self.flow.blocks, BLOCKS):
            at_full = 9 * (3 * c + 6 + matches(radius)) * c + len(block.residual) * 2 * 9 * c * c + 9 * c * 5
            at_full += matches(radius) * c if radius else 0  # the correlation
            costs.append(at_full / scale**2)
        return costs

    def _effort(self, bits: tuple[torch.Tensor, torch.Tensor] | None) -> torch.Tensor | None:
        """See `Prediction.effort`, from the selector's bits (fine, half), (N,) each; none where it does not train."""
        if bits is None:
            return None
        fine, half = bits
        at_full, at_half = (sum(cost for cost, (at, _) in zip(self._block_costs(), BLOCKS) if at == scale)
                            for scale in (1, 2))
        return half * (at_half + fine * at_full) / (at_half + at_full)
