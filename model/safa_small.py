"""safa_small, for everyday use: the paper's three rooms, all at low resolution. Assembly only.

It keeps SAFA's plan (encoder, flow estimated by blocks at several scales that a selector may leave out, decoder of a
residual image) and gives up its working at output resolution: about a twentieth of the multiply-adds. What that loses,
a decoder of each frame's own detail gives back: frames are sharp before they are warped.
"""
import torch
import torch.nn.functional as F

from model.aggregation import enlarge
from model.block_input import FLOW0, FLOW1, MASK
from model.decoder import PLANES, PlainDecoder
from model.encoder import PlainEncoder
from model.layout import first_convolution, joined
from model.network import UPSCALE, Cost, Network, Prediction, upsample
from model.routing import BY_SELECTOR, Routing
from model.safa import blend
from model.small_flow import BLOCKS, CoarseToFineFlow, in_pixels_of
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
    bytes_per_pixel = 180
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
        self.decoder = PlainDecoder(3 * channels + 2, channels, decoder_depth)

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
        state, feature, used, flows, bits = self.flow(features0, features1, timesteps, routing)
        warped0, warped1 = backward_warp(features0, state[:, FLOW0]), backward_warp(features1, state[:, FLOW1])
        mask = torch.sigmoid(state[:, MASK]).to(feature.dtype)
        plane = timesteps.reshape(-1, 1, 1, 1).to(feature.dtype).expand(-1, 1, *feature.shape[2:])
        residual = self.decoder(joined((feature, warped0, warped1, mask, plane),
                                       first_convolution(self.decoder).in_channels))
        # Flow, warping and mixing in float32: half precision has no room for the fractions of a long flow.
        large = enlarge(in_pixels_of(state, UPSCALE), UPSCALE)
        # Each frame is sharp before it is warped, at full resolution: features warped by a fraction of a low-resolution
        # pixel are means of neighbours, from which detail can no longer be told.
        frame0, frame1 = (upsample(frames, large.shape[2:]).add_(F.pixel_shuffle(detail, UPSCALE))
                          for frames, detail in ((working0, detail0), (working1, detail1)))
        frames = blend(frame0, frame1, large, F.pixel_shuffle(residual, UPSCALE))
        return Prediction(frames, large[:, :4], torch.sigmoid(large[:, MASK]), used, flows,
                          None if bits is None else self._effort(*bits))

    def _parted(self, encoded: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Features, dense as convolutions want them, and detail."""
        features, detail = encoded.split((encoded.shape[1] - PLANES, PLANES), 1)
        return features.contiguous(memory_format=torch.channels_last), detail

    def scales_at(self, scale: int) -> list[int]:
        return [own if own >= scale else 0 for own, _ in BLOCKS]  # finer blocks than that are left out

    def multiply_adds(self, height: int, width: int, scales: list[list[int]]) -> Cost:
        c, pixels = self.settings["channels"], height / UPSCALE * width / UPSCALE
        skip = 2 * 9 * c * c
        encoder = 9 * 3 * c + self.settings["encoder_depth"] * skip
        detail = 9 * c * c + self.settings["detail_depth"] * skip + 9 * c * PLANES
        decoder = 9 * (3 * c + 2) * c + self.settings["decoder_depth"] * skip + 9 * c * PLANES
        every = decoder + ((3 * c + 6) * c + c * c) / 4**2  # the selector looks at a quarter
        blocks = self._block_costs()
        return Cost(pixels * (encoder + detail), pixels * 2 * c * c,
                    [pixels * (every + sum(cost for cost, scale in zip(blocks, used) if scale)) for used in scales])

    def _block_costs(self) -> list[float]:
        """Multiply-adds of each block for a low-resolution pixel."""
        c, costs = self.settings["channels"], []
        for block, (scale, radius) in zip(self.flow.blocks, BLOCKS):
            window = (2 * radius + 1) ** 2 if radius else 0
            at_full = 9 * (3 * c + 6 + window) * c + len(block.residual) * 2 * 9 * c * c + 9 * c * 5 + window * c
            costs.append(at_full / scale**2)
        return costs

    def _effort(self, fine: torch.Tensor, half: torch.Tensor) -> torch.Tensor:
        """See `Prediction.effort`, from the selector's bits (N,)."""
        at_full, at_half = (sum(cost for cost, (at, _) in zip(self._block_costs(), BLOCKS) if at == scale)
                            for scale in (1, 2))
        return half * (at_half + fine * at_full) / (at_half + at_full)
