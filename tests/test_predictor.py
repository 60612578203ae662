"""Frames in, frames out: sizes, types, timesteps, tiles."""
import numpy as np
import pytest
import torch

from common.errors import UserError
from model import SAFA, Predictor, SAFASmall
from model.capacity import Capacity
from model.start import start_from_blending
from model.tiles import blend_weights, tile_grid


def random_model(seed=0):
    """A small network that moves things and adds to them (a fresh one's residual blocks are the identity)."""
    torch.manual_seed(seed)
    model = SAFA(channels=16, blocks=2).eval()
    for module in model.modules():
        if hasattr(module, "beta"):
            torch.nn.init.normal_(module.beta, std=0.3)
    return model


@pytest.fixture(scope="module")
def predictor():
    return Predictor(random_model(), device="cpu", precision="fp32")


def frames(height, width, dtype=np.uint8, count=2, seed=0):
    values = np.random.default_rng(seed).random((count, height, width, 3))
    peak = {np.uint8: 255, np.uint16: 65535, np.float32: 1}[dtype]
    return (values * peak).astype(dtype)


@pytest.mark.parametrize("upscale,size", [(1, (13, 18)), (2.5, (32, 45)), (4, (52, 72))])
def test_sizes_and_types_are_kept(predictor, upscale, size):
    results = {}
    for dtype in (np.uint8, np.uint16, np.float32):
        # far from black and white, which cut overshoots off
        pair = (100 + frames(13, 18, np.uint8) // 8).astype(dtype) * {np.uint8: 1, np.uint16: 257, np.float32: 1}[dtype]
        pair = pair / np.float32(255) if dtype == np.float32 else pair
        out = predictor.interpolate(*pair, [0.0, 0.4], upscale)
        assert [frame.shape for frame in out] == [(*size, 3)] * 2 and out[0].dtype == dtype
        results[dtype] = out[1] / {np.uint8: 255, np.uint16: 65535, np.float32: 1}[dtype]
    # Enlarging rounds to the frame's own type, which is all that may tell them apart.
    assert np.abs(results[np.uint8] - results[np.float32]).max() < 0.03
    assert np.abs(results[np.uint16] - results[np.float32]).max() < 0.001 if upscale == 1 else True


def test_padding_repeats_the_edge_and_is_cut_off_exactly(predictor):
    """A frame that already has its edge repeated gives the same picture in the same place."""
    pair = frames(21, 27)
    padded = np.pad(pair, ((0, 0), (0, 3), (0, 5), (0, 0)), mode="edge")
    small, large = (predictor.interpolate(*p, [0.5], 1)[0] for p in (pair, padded))
    assert np.array_equal(small, large[:21, :27])


def test_eight_bits_are_rounded_not_cut(predictor):
    pair = frames(16, 16)
    exact = predictor.interpolate(*(pair / np.float32(255)), [0.5], 1)[0] * 255
    assert np.array_equal(predictor.interpolate(*pair, [0.5], 1)[0], np.rint(exact).astype(np.uint8))


def test_timesteps_at_once_or_one_by_one_in_any_order(predictor):
    pair = frames(16, 24)
    together = predictor.interpolate(*pair, [0.75, 0.0, 0.25])
    for timestep, frame in zip([0.75, 0.0, 0.25], together):
        alone = predictor.interpolate(*pair, [timestep])[0]
        assert np.abs(alone.astype(int) - frame).max() <= 1


def counted(monkeypatch, predictor):
    """The shapes (pairs, timesteps) that the network is called with from here on."""
    shapes, interpolate = [], predictor.model.interpolate
    monkeypatch.setattr(predictor.model, "interpolate",
                        lambda *args: shapes.append(tuple(args[4].shape)) or interpolate(*args))
    return shapes


@pytest.mark.parametrize("tile", ["auto", 256])
@pytest.mark.parametrize("kind", [SAFA, SAFASmall])
def test_several_pairs_in_one_call_give_the_frames_of_each_alone(kind, tile, monkeypatch):
    """As on a GPU: pairs go together as long as there is room, and where the size changes a new call begins."""
    torch.manual_seed(0)
    model = random_model() if kind is SAFA else SAFASmall(16, 1, 1, 1).eval()
    predictor = Predictor(model, device="cpu", precision="fp32", tile=tile)
    sequence, others = frames(16, 16, count=5), frames(16, 24, np.uint16, seed=1)
    wanted = [[0.0, 0.5], [0.25, 0.75], [0.5], [0.1, 0.2, 0.3]]
    pairs = [*zip(sequence, sequence[1:], wanted), (*others, [0.5])]
    expected = [frame for pair in pairs for frame in predictor.interpolate(*pair)]

    predictor._capacity.joins_pairs = True
    monkeypatch.setattr(Capacity, "plan", lambda self, working, plan=Capacity.plan: (plan(self, working)[0], 5))
    shapes = counted(monkeypatch, predictor)
    encoded = ((predictor.encode(first), predictor.encode(second), times) for first, second, times in pairs)
    found = list(predictor.frames_between(encoded))
    assert len(found) == 9
    for one, other in zip(found, expected):
        assert one.dtype == other.dtype and one.shape == other.shape
        assert np.abs(one.astype(int) - other).max() <= (1 if one.dtype == np.uint8 else 257)
    # Five timesteps of three pairs, not as many of each; then three of one; then another size. The small network has
    # one of the five already: a frame itself.
    assert shapes == [(4 if kind is SAFASmall else 5, 1), (1, 3), (1, 1)]
    shapes.clear()
    found = list(predictor.stream(sequence, lambda pair: [0.25, 0.5]))
    assert shapes == [(2, 2), (2, 2)] and [time for time, _ in found] == [i + t for i in range(4) for t in (0.25, 0.5)]


def test_a_cpu_works_pair_by_pair_and_gives_frames_at_once(predictor, monkeypatch):
    """Nothing is read ahead: who feeds frames as they come gets the new ones as soon as they can be made."""
    shapes = counted(monkeypatch, predictor)
    read = []
    stream = predictor.stream((read.append(1) or frame for frame in frames(16, 16, count=3)), lambda pair: [0.0, 0.5])
    assert [next(stream)[0], len(read)] == [0.0, 2] and [next(stream)[0], next(stream)[0], len(read)] == [0.5, 1.0, 3]
    assert shapes == [(1, 2), (1, 2)]


@pytest.mark.parametrize("tile", ["auto", 0, 256])
def test_a_cpu_takes_no_more_timesteps_at_once_than_its_memory_is_meant_for(tile, monkeypatch):
    monkeypatch.setattr(SAFA, "batch_pixels", 3 * 16 * 24)
    predictor = Predictor(random_model(), device="cpu", precision="fp32", tile=tile)
    shapes = counted(monkeypatch, predictor)
    assert len(predictor.interpolate(*frames(16, 24), [0.1, 0.3, 0.5, 0.7, 0.9], 1)) == 5
    assert shapes == [(1, 3), (1, 2)]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_packing_is_given_the_numbers_of_the_frames(predictor, dtype, monkeypatch):
    """In strips of an even number of rows; what it makes of them is joined, and there is a list for each frame."""
    monkeypatch.setattr("model.download.STRIP", 4 * 16)
    first, second = (predictor.encode(frame, 1) for frame in frames(13, 16, dtype))
    expected, rows = predictor.between(first, second, [0.25, 0.75]), []

    def packing(strip, peak):
        rows.append(strip.shape[2])
        assert peak == np.iinfo(dtype).max and strip.dtype == torch.float32
        kind = torch.uint8 if peak == 255 else torch.int32
        return strip[:, 0].to(kind).to(torch.uint8 if peak == 255 else torch.int16), strip[:, 1:, ::2].mean((1, 3))

    found = list(predictor.frames_between([(first, second, [0.25, 0.75])], packing))
    assert rows == [4, 4, 4, 1] and len(found) == 2
    for (blue, means), frame in zip(found, expected):
        assert blue.dtype == dtype and (blue == frame[..., 0]).all()
        assert np.allclose(means, frame[::2, :, 1:].mean((1, 2)))


def test_stream_encodes_each_frame_once(predictor, monkeypatch):
    sequence = frames(16, 16, count=4)
    calls = []
    encode = predictor.model.encode
    monkeypatch.setattr(predictor.model, "encode", lambda x: calls.append(1) or encode(x))
    found = list(predictor.stream(iter(sequence), lambda pair: [0.0, 0.5] if pair < 2 else [0.0, 0.5, 1.0], upscale=2))
    assert len(calls) == 4
    assert [time for time, _ in found] == [0, 0.5, 1, 1.5, 2, 2.5, 3]
    assert np.array_equal(found[3][1], predictor.interpolate(sequence[1], sequence[2], [0.0, 0.5], 2)[1])


def test_tiles_cover_and_their_weights_add_up_to_one():
    for height, width, size, overlap in ((64, 64, 0, 16), (200, 136, 64, 16), (72, 400, 96, 32), (40, 40, 64, 16)):
        total = torch.zeros(height, width)
        tiles = tile_grid(height, width, size, overlap, 8)
        rows = blend_weights([(tile.top, tile.bottom) for tile in tiles], height, overlap)
        columns = blend_weights([(tile.left, tile.right) for tile in tiles], width, overlap)
        for tile in tiles:
            assert tile.top % 8 == 0 and tile.left % 8 == 0 and (tile.bottom - tile.top) % 8 == 0
            weights = rows[tile.top, tile.bottom][:, None] * columns[tile.left, tile.right]
            assert weights.min() > 0
            tile.cut(total).add_(weights)
        assert torch.allclose(total, torch.ones(height, width), atol=1e-5)
    assert blend_weights([(0, 64), (32, 96)], 96, 32)[0, 64].diff().min() > -0.05  # no step


def test_tiled_equals_whole_inside_and_has_no_seams():
    """At one fixed scale, a pixel further from its tile's border than the network sees is the whole frame's pixel."""
    model = random_model()
    whole = Predictor(model, device="cpu", precision="fp32", tile=0, scale_cap=4)
    tiled = Predictor(model, device="cpu", precision="fp32", tile=512, scale_cap=4)
    smooth = np.kron(frames(10, 24, np.uint8, seed=3), np.ones((1, 8, 8, 1), np.uint8))
    details_whole, details_tiled = [], []
    one, other = (p.between(p.encode(smooth[0]), p.encode(smooth[1]), [0.5], d)[0].astype(int)
                  for p, d in ((whole, details_whole), (tiled, details_tiled)))
    assert one.shape == (320, 768, 3)
    difference = np.abs(one - other)
    assert difference[:, :64].max() <= 1 and difference[:, -64:].max() <= 1  # far from the only border, in the middle
    # A seam would show as a step between neighbours that the whole frame does not have.
    step = np.abs(np.diff(one - other, axis=1))
    assert step.max() <= 6, step.max()
    assert np.abs(details_whole[0].flow - details_tiled[0].flow)[:, :64].max() < 0.01


def test_scale_cap_binds(predictor):
    pair = frames(16, 16)
    for cap in (1, 2, 4):
        details = []
        capped = Predictor(random_model(), device="cpu", precision="fp32", scale_cap=cap)
        capped.between(capped.encode(pair[0]), capped.encode(pair[1]), [0.5], details)
        assert all(scale >= cap for scale in details[0].scales) and len(details[0].scales) == 2
        assert details[0].flow.shape == (64, 64, 4) and 0 <= details[0].mask.min() <= details[0].mask.max() <= 1


def test_a_network_started_from_blending_blends():
    torch.manual_seed(0)
    model = SAFA(channels=16, blocks=3).eval()
    start_from_blending(model)
    for parameter in (model.flow.to_flow.weight[:16], model.flow.to_flow.bias[:16]):
        parameter.data.zero_()  # no motion, to look at the mask alone
    predictor = Predictor(model, device="cpu", precision="fp32")
    dark, bright = np.zeros((16, 16, 3), np.float32), np.ones((16, 16, 3), np.float32)
    start, middle, end = (frame.mean() for frame in predictor.interpolate(dark, bright, [0, 0.5, 1], 1))
    assert start < 0.03 and abs(middle - 0.5) < 0.01 and end > 0.97


@pytest.mark.parametrize("arguments,message", [
    ((frames(8, 8)[0], frames(8, 9)[0], [0.5]), "differ"),
    ((frames(8, 8)[0], frames(8, 8, np.uint16)[0], [0.5]), "differ"),
    ((*frames(8, 8), [1.5]), "1.5"),
    ((*frames(8, 8), [float("nan")]), "nan"),
    ((*frames(8, 8), [0.5], 0.5), "0.5"),
    ((*frames(8, 8), [0.5], 9), "9"),
    ((frames(8, 8)[0, ..., :2], frames(8, 8)[1], [0.5]), "HxWx3"),
    ((frames(8, 8).astype(np.int64)[0], frames(8, 8)[1], [0.5]), "int64"),
])
def test_mistakes_are_named(predictor, arguments, message):
    with pytest.raises(UserError, match=message):
        predictor.interpolate(*arguments)


def test_what_options_cannot_be_is_named():
    model = random_model()
    for options, message in (({"device": "tpu9"}, "tpu9"), ({"device": "meta"}, "meta"),
                             ({"device": "privateuseone"}, "privateuseone"), ({"precision": "fp8"}, "fp8"),
                             ({"scale_cap": 3}, "3"), ({"tile": 50}, "50"), ({"tile": -5}, "-5"),
                             ({"tile": "512"}, "'512'"), ({"tile": True}, "True"), ({"tile": 512.0}, "512.0")):
        with pytest.raises(UserError, match=message):
            Predictor(model, **options)
