"""The small network: its samples apart and together, its pairs restored, its cost counted."""
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tiny_networks import TINY, small_model, smooth_frames
from torch.utils.flop_counter import FlopCounterMode

from model import Predictor, SAFASmall, load_model, load_predictor
from model.checkpoint import save_model
from model.network import upsample
from model.prepare import prepare_for_inference
from model.registry import WEIGHTS
from model.routing import Routing
from model.small_flow import BLOCKS, LONGEST_FLOW, STRONGEST_LOGIT


def choose(model, fine, half):
    """Make the selector say so: `fine` and `half` are numbers above 0 for yes, below for no."""
    with torch.no_grad():
        model.flow.selector.decide.weight.zero_()
        model.flow.selector.decide.bias.copy_(torch.tensor([fine, half]))


@pytest.mark.parametrize("upscale,size", [(1, (13, 18)), (2.5, (32, 45)), (4, (52, 72)), (8, (104, 144))])
def test_any_size_timestep_and_enlargement(upscale, size):
    predictor = Predictor(small_model(), device="cpu", precision="fp32")
    pair = (255 * smooth_frames(13, 18)).permute(0, 2, 3, 1).numpy().astype(np.uint8)
    found = predictor.interpolate(*pair, [0.0, 0.3, 1.0], upscale)
    assert [frame.shape for frame in found] == [(*size, 3)] * 3 and found[0].dtype == np.uint8
    alone = predictor.interpolate(*pair, [0.3], upscale)[0]
    assert np.abs(alone.astype(int) - found[1]).max() <= 1


def test_other_enlargements_are_the_native_one_resized():
    predictor = Predictor(small_model(), device="cpu", precision="fp32")
    pair = smooth_frames(12, 16).permute(0, 2, 3, 1).numpy()
    native, half, double = (predictor.interpolate(*pair, [0.5], upscale)[0] for upscale in (4, 2, 8))

    def resized(size):
        image = torch.from_numpy(native).permute(2, 0, 1)[None]
        image = F.interpolate(image, size, mode="bicubic", align_corners=False, antialias=size[0] < 48)
        return image[0].permute(1, 2, 0).clamp(0, 1).numpy()

    assert np.abs(resized((24, 32)) - half).max() < 1e-5
    assert np.abs(resized((96, 128)) - double).max() < 1e-5
    # and its flow counts pixels of what comes out
    details = [[], []]
    for upscale, found in zip((4, 8), details):
        predictor.between(*(predictor.encode(frame, upscale) for frame in pair), [0.5], found)
    assert np.allclose(details[0][0].flow.mean((0, 1)), details[1][0].flow.mean((0, 1)) / 2, rtol=0.02, atol=0.02)


@pytest.mark.parametrize("size,tolerance", [((52, 72), 1e-6), ((30, 41), 1e-5)])
def test_frames_are_enlarged_as_pytorch_does_it(size, tolerance):
    frames = torch.rand(2, 3, 13, 18)
    expected = F.interpolate(frames, size, mode="bicubic", align_corners=False)
    assert torch.allclose(upsample(frames, size), expected, atol=tolerance)
    assert torch.allclose(upsample(frames.requires_grad_(), size), expected, atol=tolerance)
    assert upsample(frames, size).requires_grad


def one_by_one(model, frames, times, scales):
    """What `forward` with its ends is made of, sample by sample: `scales` one for each of T + 2 of every pair."""
    encoded, scales = [model.encode(frame) for frame in frames.split(1)], iter(scales)

    def restored(frame, other, scale):
        return model.restore(frames[frame:frame + 1], encoded[frame], frames[other:other + 1], encoded[other],
                             Routing(scale=scale))

    for pair, of_pair in enumerate(times):
        first, *between, second = [next(scales) for _ in range(len(of_pair) + 2)]
        ends = restored(pair, pair + 1, first), restored(pair + 1, pair, second)
        yield ends[0]
        for time, scale in zip(of_pair, between):
            yield model.interpolate(*(end.frames for end in ends), *encoded[pair:pair + 2], time.view(1, 1),
                                    Routing(scale=scale))
        turned = torch.cat((ends[1].flow[:, 2:], ends[1].flow[:, :2]), 1)
        yield ends[1]._replace(flow=turned, mask=1 - ends[1].mask)


def test_samples_at_mixed_scales_equal_each_alone():
    model = small_model()
    frames, times = smooth_frames(16, 24, 3), torch.tensor([[0.3, 0.6], [0.2, 0.9]])
    scales = torch.tensor([[4, 1, 2, 2, 4, 1, 4, 2]])
    with torch.no_grad():
        together = model(frames[:2], frames[1:], times, Routing(scales), ends=True)
        for sample, alone in enumerate(one_by_one(model, frames, times, scales[0].tolist())):
            # Between, whatever rounding restored frames differ by is magnified by flows twenty times as large.
            tolerance = 1e-5 if sample % 4 in (0, 3) else 1e-4
            assert torch.allclose(together.frames[sample], alone.frames[0], atol=tolerance)
            assert torch.allclose(together.flow[sample], alone.flow[0], atol=1e-3)
            assert torch.allclose(together.mask[sample], alone.mask[0], atol=1e-4)
            used = [block if block >= scales[0, sample] else 0 for block, _ in BLOCKS]
            assert [int(block[sample]) for block in together.scales] == used
    assert together.flow[1].abs().max() > 1  # it moves, so warping is part of what is compared


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_frames_of_a_pair_come_out_as_restored_at_its_ends(precision):
    model = prepare_for_inference(small_model(), torch.device("cpu"), precision)
    frames = smooth_frames(12, 16)
    with torch.no_grad():
        found = model(*frames.split(1), torch.tensor([[0.0, 1.0]]))
        given = model(*frames.split(1), torch.tensor([[0.5]]), ends=True).frames[[0, 2]]
    assert torch.allclose(found.frames, given, atol=1e-5) and found.mask.flatten(1).unique(dim=1).tolist() == [[1], [0]]
    enlarged = upsample(frames, (48, 64))
    assert (given - enlarged).abs().max() > 0.1  # the network has a say in them


def test_in_a_video_each_frame_is_restored_once_by_the_one_before_it():
    model, frames = small_model(), smooth_frames(12, 16, 4)
    predictor = Predictor(model, device="cpu", precision="fp32")
    found = predictor.stream(frames.permute(0, 2, 3, 1).numpy(), lambda pair: [0.0, 0.4])
    with torch.no_grad():
        encoded = [model.encode(frame) for frame in frames.split(1)]
        sides = [(frame[None], features) for frame, features in zip(frames, encoded)]
        restored = [model.restore(*sides[k], *sides[max(k - 1, 0) if k else 1]).frames for k in range(4)]
        for pair in range(3):
            between = model.interpolate(*restored[pair:pair + 2], *encoded[pair:pair + 2], torch.tensor([[0.4]]))
            for expected in (restored[pair], between.frames):
                assert np.abs(next(found)[1] - expected[0].permute(1, 2, 0).numpy()).max() < 1e-5
    assert next(found, None) is None
    assert (restored[1] - model.restore(*sides[1], *sides[2]).frames).abs().max() > 1e-3  # which one matters


def test_the_selector_and_the_cap_decide_how_fine_it_goes():
    frames, times = smooth_frames(16, 16), torch.tensor([[0.5]])
    for fine, half, cap, expected in ((1, 1, 1, 1), (-1, 1, 1, 2), (1, -1, 1, 4), (1, 1, 2, 2), (1, 1, 4, 4)):
        model = small_model()
        choose(model, fine, half)
        with torch.no_grad():
            chosen = model(frames[:1], frames[1:], times, Routing(cap=cap))
            fixed = model(frames[:1], frames[1:], times, Routing(scale=expected))
        assert torch.equal(chosen.frames, fixed.frames)
        assert [int(block) for block in chosen.scales] == [int(block) for block in fixed.scales]


def test_bits_drawn_in_training_leave_out_what_is_not_chosen_and_reach_the_selector():
    """Training computes all blocks and multiplies by the bits: the same frames, and a gradient for the selector."""
    model = small_model()
    frames, times = smooth_frames(16, 16), torch.tensor([[0.3]])
    for draws, scale in (((0, 0), 1), ((1, 0), 2), ((0, 1), 4)):  # below the probability: the bit is set
        routing = Routing(draws=torch.tensor(draws).float().expand(1, 3, 2))
        trained = model(frames[:1], frames[1:], times, routing, ends=True)
        fixed = model(frames[:1], frames[1:], times, Routing(scale=scale), ends=True)
        assert torch.allclose(trained.frames, fixed.frames, atol=1e-5)
        model.zero_grad()
        trained.frames.sum().backward()
        assert model.flow.selector.decide.weight.grad.abs().max() > 0


def test_flows_and_mask_stay_within_their_bounds():
    model = small_model()
    with torch.no_grad():
        for block in model.flow.blocks:
            block.to_flow.bias.copy_(torch.tensor([100, -100, 50, -50, 30.0]))
        found = model(*smooth_frames(16, 16).split(1), torch.tensor([[0.5]]), Routing(scale=1))
    assert found.flow[0, 0].min() == 4 * LONGEST_FLOW and found.flow[0, 1].max() == -4 * LONGEST_FLOW
    assert all(flow.abs().max() <= LONGEST_FLOW for flow in found.flows) and len(found.flows) == len(BLOCKS)
    assert torch.allclose(found.mask, torch.sigmoid(torch.tensor(STRONGEST_LOGIT)).expand_as(found.mask))


def silence(*convolutions):
    for convolution in convolutions:
        convolution.weight.zero_()
        convolution.bias.zero_()


def test_before_it_knows_anything_it_shows_the_nearer_frame():
    """No flow and no residual: the mask's logit starts at 8 (1/2 - t), by which a pair's own frames are mixed first."""
    model = small_model()
    with torch.no_grad():
        silence(*(block.to_flow for block in model.flow.blocks), model.detail[-1], model.decoder[-1])
        frames = smooth_frames(12, 16)
        found = model(frames[:1], frames[1:], torch.tensor([[0.25]]), ends=True).frames
        large = F.interpolate(frames, scale_factor=4, mode="bicubic", align_corners=False)
    for frame, share in zip(found[[0, 2]], torch.sigmoid(torch.tensor([4.0, -4.0]))):
        assert torch.allclose(frame, (share * large[0] + (1 - share) * large[1]).clamp(0, 1), atol=1e-5)
    share = torch.sigmoid(torch.tensor(2.0))
    assert torch.allclose(found[1], share * found[0] + (1 - share) * found[2], atol=1e-5)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_stays_close(precision):
    frames, time, routing = smooth_frames(24, 24).split(1), torch.tensor([[0.5]]), Routing(scale=1)
    exact, rough = (prepare_for_inference(small_model(), torch.device("cpu"), name) for name in ("fp32", precision))
    with torch.no_grad():
        encoded = [[model.encode(frame) for frame in frames] for model in (exact, rough)]
        given = [model.restore(frames[0], both[0], frames[1], both[1], routing)
                 for model, both in zip((exact, rough), encoded)]
        enlarged = [upsample(frame, (96, 96)) for frame in frames]
        between = [model.interpolate(*enlarged, *both, time, routing) for model, both in zip((exact, rough), encoded)]
    for one, other in given, between:
        assert one.frames.std() > 0.05 and one.frames.dtype == other.frames.dtype == torch.float32
        assert -10 * torch.log10((one.frames - other.frames).square().mean()) > 35


def test_each_frame_is_given_its_own_detail_before_it_is_warped():
    """With a constant flow of whole output pixels and nothing else: the enlarged frame with its detail, shifted."""
    model = small_model()
    with torch.no_grad():
        silence(*(block.to_flow for block in model.flow.blocks), model.decoder[-1])
        torch.nn.init.normal_(model.detail[-1].weight, std=0.05)
        model.flow.blocks[-1].to_flow.bias[0] = 0.75  # low-resolution pixels to the right in frame 0
        model.flow.blocks[-1].to_flow.bias[4] = 100   # a mask of nearly one
        frames = smooth_frames(12, 16)
        found = model(frames[:1], frames[1:], torch.tensor([[0.5]]), Routing(scale=1))
        detail = F.pixel_shuffle(model.detail(model.encoder(frames[:1])), 4)
        sharp = F.interpolate(frames[:1], scale_factor=4, mode="bicubic", align_corners=False) + detail
    assert detail.abs().mean() > 0.01 and found.mask.min() > 0.999
    expected = sharp[..., 3:].clamp(0, 1)
    assert (found.frames[..., :-3] - expected).abs().max() < 2e-3


@pytest.mark.parametrize("scale,chosen", [(1, (1, 1)), (2, (-1, 1)), (4, (-1, -1))])
def test_cost_is_that_of_the_convolutions(scale, chosen):
    model = small_model()
    choose(model, *chosen)
    frames, times = smooth_frames(16, 32), torch.tensor([[0.2, 0.7]])
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        found = model(frames[:1], frames[1:], times)
    counted = counter.get_flop_counts()["Global"][torch.ops.aten.convolution] // 2
    used = [[int(block[i]) for block in found.scales] for i in range(2)]
    cost = model.multiply_adds(64, 128, [[], *used], used[0])  # the frame itself costs nothing more
    # The correlations are counted beside them: every point's features times each of its window's, for two frames
    # restored and two timesteps.
    matching = sum(4 * (16 * 32 // block**2) * (2 * radius + 1) ** 2 * TINY["channels"]
                   for block, radius in BLOCKS if radius and block >= scale)
    assert 2 * cost.frame + cost.pair + sum(cost.timesteps) - matching == counted


def test_a_video_of_twice_the_frames_costs_at_most_60_gmac_a_frame():
    model = SAFASmall()
    cost = model.multiply_adds(720, 1280, [[], [scale for scale, _ in BLOCKS]])
    assert (cost.frame + cost.pair + sum(cost.timesteps)) / 2 <= 60e9


def test_tiles_share_enough_for_long_motion(monkeypatch):
    """The frames of tiles differ from the whole frame's by 4.6 dB less than with 128 shared pixels; with 192: 2.2."""
    torch.manual_seed(0)
    noise = F.interpolate(torch.rand(1, 3, 24, 82), (96, 328), mode="bicubic").clamp(0, 1)[0].permute(1, 2, 0).numpy()
    frames = noise[:, :288], noise[:, 40:]

    def interpolated(**options):
        return load_predictor("small", "cpu", **options).interpolate(*frames, [0.5])[0]

    whole, errors = interpolated(tile=0), []
    for overlap in (SAFASmall.overlap, 128):
        monkeypatch.setattr(SAFASmall, "overlap", overlap)
        errors.append(np.square(interpolated(tile=768) - whole).mean())
    assert 10 * np.log10(errors[1] / errors[0]) > 3.3


def test_weights_are_found_again_by_name(tmp_path, monkeypatch):
    model = small_model()
    save_model(model, tmp_path / "any.safetensors")
    monkeypatch.setitem(WEIGHTS, "small", tmp_path / "any.safetensors")
    again = load_model("small")
    assert type(again) is SAFASmall and again.settings == TINY
    frames = smooth_frames(8, 8)
    with torch.no_grad():
        assert torch.equal(*(network(frames[:1], frames[1:], torch.tensor([[0.4]])).frames
                             for network in (model, again)))


def test_a_price_on_work_teaches_the_selector_to_leave_blocks_out():
    """The effort is the share of the optional multiply-adds, and its gradient reaches the selector."""
    torch.manual_seed(3)
    model = SAFASmall(**TINY).train()
    frame0, frame1, times = torch.rand(2, 3, 16, 16), torch.rand(2, 3, 16, 16), torch.tensor([[0.5], [0.5]])
    for draws, expected in (((0, 0), [4, 4, 2, 2, 1]), ((1, 0), [4, 4, 2, 2, 0]), ((0, 1), [4, 4, 0, 0, 0])):
        routing = Routing(draws=torch.tensor(draws).float().expand(1, 2, 2))
        prediction = model(frame0, frame1, times, routing)
        assert [int(scales[0]) for scales in prediction.scales] == expected
        all_of_it, none, these = (sum(model.multiply_adds(64, 64, [scales]).timesteps)
                                  for scales in ([4, 4, 2, 2, 1], [4, 4, 0, 0, 0], expected))
        assert prediction.effort.tolist() == pytest.approx([(these - none) / (all_of_it - none)] * 2, abs=1e-6)
    optimizer = torch.optim.SGD(model.flow.selector.parameters(), 5.0)
    for step in range(20):
        routing = Routing(draws=torch.rand(1, 2, 2, generator=torch.Generator().manual_seed(step)))
        optimizer.zero_grad()
        model(frame0, frame1, times, routing).effort.mean().backward()
        optimizer.step()
    chosen = model.eval()(frame0, frame1, times).scales
    assert [scale.tolist() for scale in chosen[2:]] == [[0, 0]] * 3
