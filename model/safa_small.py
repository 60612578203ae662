"""safa_small, for everyday use: the paper's three rooms, all at low resolution. Assembly only.

It keeps SAFA's plan (encoder, flow estimated by blocks at several scales that a selector may leave out, decoder of a
residual image) and gives up its working at output resolution: about a twentieth of the multiply-adds. What that loses,
a decoder of each frame's own detail gives back: frames are sharp before they are warped, and the finest block and the
decoder go by what they differ by then.
"""
import torch
import torch.nn.functional as F

from model.block_input import MASK
from model.decoder import PLANES, PlainDecoder
from model.encoder import PlainEncoder
from model.frames import compare, compared_channels, warp_frames
from model.layout import first_convolution, joined
from model.network import UPSCALE, Cost, Network, Prediction, upsample
from model.routing import BY_SELECTOR, Routing
from model.small_flow import BLOCKS, CoarseToFineFlow, at_output_resolution, matches


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
    bytes_per_pixel = 190
    parts = ("encoder", "detail", "decoder")
    blocks = 1  # the selector decides once

    def __init__(self, channels: int = 64, encoder_depth: int = 2, detail_depth: int = 6, flow_depth: int = 2,
                 decoder_depth: int = 2):
        super().__init__()
        self.settings = {"channels": channels, "encoder_depth": encoder_depth, "detail_depth": detail_depth,
                         "flow_depth": flow_depth, "decoder_depth": decoder_depth}
        self.encoder = PlainEncoder(channels, encoder_depth)
        self.detail = PlainDecoder(channels, channels, detail_depth)
        self.flow = CoarseToFineFlow(channels, flow_depth)
        self.decoder = PlainDecoder(channels + 2 + compared_channels(3, UPSCALE), channels, decoder_depth)

    def working_frames(self, frames: torch.Tensor, size: tuple[int, int], peak: int | None = None) -> torch.Tensor:
        return frames

    def encode(self, working: torch.Tensor) -> torch.Tensor:
        """Frames (N, 3, h, w) to features and the detail that bicubic enlargement lacks, (N, channels + 48, h, w)."""
        first = first_convolution(self.encoder)
        features = self.encoder(joined([working.to(first.weight.dtype)], first.in_channels))
        return joined((features, self.detail(features)), features.shape[1] + PLANES)

    def interpolate(self, working0: torch.Tensor, working1: torch.Tensor, features0: torch.Tensor,
                    features1: torch.Tensor, timesteps: torch.Tensor, routing: Routing = BY_SELECTOR) -> Prediction:
        (features0, detail0), (features1, detail1) = (self._parted(encoded) for encoded in (features0, features1))
        # Each frame is sharp before it is warped, at output resolution: features warped by a fraction of a
        # low-resolution pixel are means of neighbours, from which detail can no longer be told.
        sharp = self._sharp(working0, detail0), self._sharp(working1, detail1)
        state, feature, used, flows, bits = self.flow(sharp, features0, features1, timesteps, routing)
        large = at_output_resolution(state)
        warped0, warped1 = warp_frames(*sharp, large)
        mask = torch.sigmoid(large[:, MASK])
        mixed = torch.lerp(warped1, warped0, mask)
        small_mask = torch.sigmoid(state[:, MASK])
        plane = timesteps.reshape(-1, 1, 1, 1).expand_as(small_mask)
        residual = self.decoder(joined((feature, small_mask, plane,
                                        *compare(warped0, warped1, mixed, UPSCALE, feature.dtype)),
                                       first_convolution(self.decoder).in_channels))
        frames = mixed.add_(F.pixel_shuffle(residual, UPSCALE)).clamp_(0, 1)
        return Prediction(frames, large[:, :4], mask, used, flows, None if bits is None else self._effort(*bits))

    def _parted(self, encoded: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Features, dense as convolutions want them, and detail."""
        features, detail = encoded.split((encoded.shape[1] - PLANES, PLANES), 1)
        return features.contiguous(memory_format=torch.channels_last), detail

    @staticmethod
    def _sharp(frames: torch.Tensor, detail: torch.Tensor) -> torch.Tensor:
        """Frames (B, 3, h, w), enlarged, with their detail (B, 48, h, w)."""
        size = UPSCALE * frames.shape[2], UPSCALE * frames.shape[3]
        return upsample(frames, size).add_(F.pixel_shuffle(detail, UPSCALE))

    def scales_at(self, scale: int) -> list[int]:
        return [own if own >= scale else 0 for own, _ in BLOCKS]  # finer blocks than that are left out

    def multiply_adds(self, height: int, width: int, scales: list[list[int]]) -> Cost:
        c, pixels = self.settings["channels"], height / UPSCALE * width / UPSCALE
        skip = 2 * 9 * c * c
        encoder = 9 * 3 * c + self.settings["encoder_depth"] * skip
        detail = 9 * c * c + self.settings["detail_depth"] * skip + 9 * c * PLANES
        decoder = (9 * (c + 2 + compared_channels(3, UPSCALE)) * c + self.settings["decoder_depth"] * skip
                   + 9 * c * PLANES)
        every = decoder + ((3 * c + 6) * c + c * c) / 4**2  # the selector looks at a quarter
        blocks = self._block_costs()
        return Cost(pixels * (encoder + detail), pixels * 2 * c * c,
                    [pixels * (every + sum(cost for cost, scale in zip(blocks, used) if scale)) for used in scales])

    def _block_costs(self) -> list[float]:
        """Multiply-adds of each block for a low-resolution pixel."""
        c, costs = self.settings["channels"], []
        for block, (scale, radius) in zip(self.flow.blocks, BLOCKS):
            at_full = 9 * (3 * c + 6 + matches(radius)) * c + len(block.residual) * 2 * 9 * c * c + 9 * c * 5
            at_full += matches(radius) * c if radius else 0  # the correlation
            costs.append(at_full / scale**2)
        return costs

    def _effort(self, fine: torch.Tensor, half: torch.Tensor) -> torch.Tensor:
        """See `Prediction.effort`, from the selector's bits (N,)."""
        at_full, at_half = (sum(cost for cost, (at, _) in zip(self._block_costs(), BLOCKS) if at == scale)
                            for scale in (1, 2))
        return half * (at_half + fine * at_full) / (at_half + at_full)
