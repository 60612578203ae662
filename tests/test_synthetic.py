"""Generated scenes: they repeat, move as their paths say, stay sharp, and know their own motion."""
import cv2
import numpy as np
import pytest

from common.errors import UserError
from data.layers import Layer, LayerPath, render, render_with_motion
from data.materials import print_letters
from data.motion import Motion, estimate_motion, reduce_motion
from data.sample import Triplet, augment_triplet, make_sample
from dataset import TrainingStream, open_dataset

STILL = np.zeros(2)
ZERO = dict(angle=0.0, turn=0.0, zoom=1.0, growth=0.0)


def noise(seed=0, side=200, grain=1):
    return cv2.blur(np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8), (grain, grain))


def path(move=STILL, middle=STILL, **settings):
    return LayerPath(np.array(middle, float), np.array(move, float), STILL, **ZERO | settings)


def square(move, middle=STILL, side=20):
    mask = np.zeros((200, 200), np.uint8)
    mask[100 - side:100 + side, 100 - side:100 + side] = 255
    return Layer(noise(7, grain=3), mask, path(move, middle), None)


def write_photos(folder, names):
    folder.mkdir()
    for number, name in enumerate(names):
        small = np.random.default_rng(number).integers(0, 256, (20, 30, 3), np.uint8)
        cv2.imwrite(str(folder / name), cv2.resize(small, (200, 150), interpolation=cv2.INTER_CUBIC))
    return folder


@pytest.mark.parametrize("photos", [False, True])
def test_synthetic_scenes_move_and_repeat(tmp_path, photos):
    folders = [write_photos(tmp_path / "photos", [f"{number}.jpg" for number in range(10)])] if photos else None
    data = open_dataset("synthetic", None, crop=48, photos=folders)
    samples = [data.sample(0, np.random.default_rng(seed)) for seed in range(30)]
    assert samples[0].targets.shape == (9, 48, 48) and samples[0].inputs.shape == (6, 12, 12)
    assert all(0 < sample.timestep < 1 and sample.timestep * 8 % 1 == 0 for sample in samples)
    assert np.array_equal(samples[3].targets, data.sample(9, np.random.default_rng(3)).targets)
    moved = [np.abs(s.targets[:3].astype(float) - s.targets[6:]).mean() for s in samples]
    assert np.mean(np.array(moved) > 2) > 0.7 and len({sample.targets.tobytes() for sample in samples}) == 30
    other = open_dataset("synthetic", None, "val", crop=48, photos=folders).sample(0, np.random.default_rng(3))
    assert not np.array_equal(other.targets, samples[3].targets)
    with pytest.raises(UserError, match="no such folder of photos"):
        open_dataset("synthetic", None, photos=tmp_path / "none")


def test_photos_of_several_folders_and_those_for_validation(tmp_path):
    first = write_photos(tmp_path / "a", ["kodak_1.png", "x.png", "y.png"])
    second = write_photos(tmp_path / "b", ["kodak_2.png", "z.png"])
    data = {split: open_dataset("synthetic", None, split, crop=32, photos=[first, second], val_photos=["kodak_*"])
            for split in ("train", "val")}
    names = {"train": [first / "x.png", first / "y.png", second / "z.png"],
             "val": [first / "kodak_1.png", second / "kodak_2.png"]}
    for split, files in names.items():
        expected = sorted(cv2.imread(str(file)).tobytes() for file in files)
        assert sorted(texture.tobytes() for texture in data[split]._textures) == expected
    with pytest.raises(UserError, match="no photos for val"):
        open_dataset("synthetic", None, "val", crop=32, photos=[second], val_photos=["w_*"])


def test_synthetic_motion_is_what_the_path_says():
    """A layer that moves a whole number of pixels is the same image, shifted; halfway it is shifted by half."""
    background = Layer(noise(grain=9), None, path((8, -4)), None)
    frames = [render([background], u, 32).astype(int) for u in (0.0, 0.5, 1.0)]
    assert np.array_equal(frames[1][:-2, 4:], frames[0][2:, :-4])
    assert np.array_equal(frames[2][:-4, 8:], frames[0][4:, :-8])
    white = square((0, 12), side=10)
    white.texture = np.full_like(white.texture, 255)
    black = Layer(np.zeros((200, 200, 3), np.uint8), None, path(), None)
    centres = [np.argwhere(render([black, white], u, 32)[..., 0] > 127).mean(0) for u in (0.0, 0.25, 1.0)]
    assert np.allclose(centres, [[9.5, 15.5], [12.5, 15.5], [21.5, 15.5]], atol=0.01)
    turned = Layer(noise(grain=9), None, path(turn=np.pi), None)  # a half turn
    assert np.array_equal(render([turned], 0.0, 32), render([turned], 1.0, 32)[::-1, ::-1])


def test_frames_are_as_sharp_as_the_photo_reduced():
    """An unmoved layer is the photo reduced by area; a moved one, between the texels too, keeps the fine detail."""
    photo = noise(1, 256)
    reduced = cv2.resize(photo, (128, 128), interpolation=cv2.INTER_AREA)
    still = render([Layer(photo, None, path(), None)], 0.5, 64)
    assert np.abs(still.astype(int) - reduced[32:96, 32:96]).max() <= 1
    detail = reduced[32:96, 32:96].astype(float).std()
    for middle in ((0.25, 0), (0.25, 0.25), (0.5, 0.1)):
        moved = render([Layer(photo, None, path(middle=middle), None)], 0.5, 64).astype(float)
        assert 0.9 < moved.std() / detail < 1.1, "white noise is all fine detail: blur would take most of it"


@pytest.mark.parametrize("pixels", [1.0, 2.0])
def test_letters_are_as_high_as_said_and_can_be_seen(pixels):
    ground, heights = np.full((400, 300, 3), (60, 90, 120), np.uint8), []
    for seed in range(40):
        printed = print_letters(ground, pixels, np.random.default_rng(seed))
        inked = (printed != ground).any((1, 2))
        rows = np.flatnonzero(np.diff(np.concatenate(([0], inked, [0]))))  # where a row of letters begins and ends
        heights += [end - begin for begin, end in zip(rows[::2], rows[1::2]) if begin and end < len(inked)]
        contrast = np.abs(printed.astype(int) - ground).max(2)
        assert contrast.max() >= 80, "ink that is there can be told from the ground"
    # Capitals from 6 to 40 pixels of the frame; lower case hangs below the line, and a stroke has its own width.
    assert 0.8 * 6 * pixels < min(heights) < 12 * pixels and 20 * pixels < max(heights) < 1.7 * 40 * pixels
    assert (ground == (60, 90, 120)).all(), "a texture is shared by many scenes"


def test_a_single_layers_flow_is_its_translation():
    _, motion = render_with_motion([Layer(noise(), None, path((8, -4)), None)], 0.25, 32)
    for place, u in enumerate((0, 0.25, 1)):
        for end in (0, 1):
            expected = np.array([8, -4]) * (end - u)
            assert np.allclose(motion.flow[place, 2 * end:2 * end + 2], expected[:, None, None], atol=1e-4)
            y, x = np.mgrid[:32, :32]
            inside = (0 <= x + expected[0]) & (x + expected[0] <= 31) & (0 <= y + expected[1]) & (y + expected[1] <= 31)
            assert np.array_equal(motion.confidence[place, end], inside.astype(np.float32))


def test_what_is_covered_has_no_confidence():
    """A square moves 16 pixels right over a still background: closed form for what it hides."""
    _, motion = render_with_motion([Layer(noise(3), None, path(), None), square((16, 0))], 0.5, 64)
    on, hidden = motion.confidence[0, 1, 32], slice(36, 48)  # the middle row; the square covers x = 14..33, then 30..49
    assert np.allclose(motion.flow[0, 2, 32, 16:32], 16, atol=1e-4) and np.all(on[16:32] > 0.99)
    assert np.all(motion.flow[0, 2, 32, hidden] == 0) and np.all(on[hidden] == 0)
    assert np.all(on[52:] == 1) and np.all(motion.flow[0, 2, 32, 52:] == 0)


def warped(frame, flow):
    y, x = np.mgrid[:frame.shape[0], :frame.shape[1]].astype(np.float32)
    return cv2.remap(frame, x + flow[0], y + flow[1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE).astype(float)


def check_by_warping(triplet, bound):
    """Both ends warped to each frame are that frame, where the flow is to be relied on."""
    errors, blind = [], []
    for place, frame in enumerate(triplet.frames):
        for end, other in enumerate((triplet.frames[0], triplet.frames[2])):
            flow = triplet.motion.flow[place, 2 * end:2 * end + 2]
            sure = triplet.motion.confidence[place, end] > 0.95
            frame, other = np.ascontiguousarray(frame), np.ascontiguousarray(other)
            errors.append(np.abs(warped(other, flow) - frame)[sure].mean() if sure.any() else 0.0)
            blind.append(np.abs(other.astype(float) - frame)[sure].mean() if sure.any() else 0.0)
    assert np.mean(errors) < bound, (errors, blind)
    return np.mean(blind)


def test_true_flow_of_random_scenes_explains_the_frames():
    data = open_dataset("synthetic", None, crop=64)
    moved = []
    for seed in range(12):
        plain = data.triplet(0, np.random.default_rng(seed), False)
        triplet = data.triplet(0, np.random.default_rng(seed), False, motion=True)
        assert np.array_equal(plain.frames, triplet.frames) and plain.motion is None
        moved.append(check_by_warping(triplet, 4))
        flipped = augment_triplet(triplet, np.random.default_rng(seed + 100))
        check_by_warping(flipped, 4)
    assert np.mean(moved) > 10, "without the flow the frames differ much more"


def test_a_bending_layers_flow_explains_the_frames():
    bend = cv2.resize(np.random.default_rng(5).normal(0, 6, (3, 3, 2)).astype(np.float32), (64, 64),
                      interpolation=cv2.INTER_CUBIC)
    layer = Layer(noise(grain=9), None, path((3, 1), turn=0.1, growth=0.1), bend)
    frames, motion = render_with_motion([layer], 0.5, 64)
    assert check_by_warping(Triplet(frames, 0.5, motion), 1) > 4


def test_estimated_flow_of_recorded_frames():
    big = noise(2, 120, 5)
    frames = np.stack([big[20:84, 20 + shift:84 + shift] for shift in (0, 2, 6)])  # what is seen moves left
    motion = estimate_motion(frames)
    inner = np.s_[16:-16, 16:-16]
    for place, shift in enumerate((0, 2, 6)):
        for end, other in enumerate((0, 6)):
            assert np.abs(motion.flow[place, 2 * end][inner] - (shift - other)).mean() < 0.2
            assert motion.confidence[place, end][inner].mean() > 0.8
    assert np.all(motion.flow[0, :2] == 0) and np.all(motion.confidence[0, 0] == 1)
    assert motion.confidence[2, 0, :, -5:].mean() < 0.05 > motion.confidence[0, 1, :, :5].mean(), "out of the frame"


def test_samples_carry_flow_at_low_resolution():
    rng = np.random.default_rng(0)
    flow = rng.normal(0, 5, (3, 4, 16, 24)).astype(np.float32)
    confidence = rng.random((3, 2, 16, 24), np.float32)
    confidence[0, 0, :4, :4] = 0
    reduced = reduce_motion(Motion(flow, confidence), 4)
    for block in ((0, 0), (2, 3)):
        rows, columns = (slice(4 * at, 4 * at + 4) for at in block)
        for place, end, axis in ((0, 0, 0), (1, 1, 0), (2, 0, 1)):
            weight = confidence[place, end, rows, columns].astype(float) + 1e-6
            mean = (flow[place, 2 * end + axis, rows, columns] * weight).sum() / weight.sum() / 4
            assert np.isclose(reduced.flow[(place, 2 * end + axis, *block)], mean, atol=1e-4)
            assert np.isclose(reduced.confidence[(place, end, *block)], weight.mean(), atol=1e-5)

    stream = TrainingStream(open_dataset("synthetic", None, crop=32), 0, flow=True)
    plain = TrainingStream(stream.dataset, 0)
    item = stream[5]
    assert [tuple(tensor.shape) for tensor in item[3:]] == [(3, 4, 8, 8), (3, 2, 8, 8)]
    assert all(np.array_equal(a, b) for a, b in zip(item[:3], plain[5])) and len(plain[5]) == 3
    recorded = make_sample(Triplet(np.stack([noise(2, 32, 5)] * 3), 0.5), rng, flow=True)
    assert np.abs(recorded.flow).max() < 0.1 and recorded.confidence.min() > 0.9
