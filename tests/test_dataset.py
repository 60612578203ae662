"""Datasets on files made here: what is the target, what is random, what happens to bad files."""
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch
from dataset_files import HEIGHT, WIDTH, make_adobe, numbered_frame, write_frames, write_video
from threadpoolctl import threadpool_info, threadpool_limits
from torch.utils.data import DataLoader

from common.errors import UserError
from data.adobe240 import LISTS
from data.frames import VideoFile
from data.packing import pack
from data.sample import Triplet, augment_triplet, make_sample
from data.stream import samples_per_second
from dataset import Mixture, TrainingStream, open_dataset
from media.video.decode import VideoSource

FIGURES = Path(__file__).parent / "data" / "resize_figures.npz"


@pytest.fixture
def adobe(tmp_path):
    return make_adobe(tmp_path / "adobe240")


def decode(sample):
    """(frame numbers of the three targets, left, top, was B swapped with R), read from the pixels."""
    frames = sample.targets.reshape(3, 3, *sample.targets.shape[1:])
    swapped = bool(frames[:, 0].max() >= 160)
    blue, red = (2, 0) if swapped else (0, 2)
    assert all(np.ptp(frame[blue]) == 0 for frame in frames)
    numbers = [int(frame[blue, 0, 0]) // 10 for frame in frames]
    assert all(np.array_equal(frame[[1, red]], frames[0, [1, red]]) for frame in frames), "crops differ"
    return numbers, frames[0, 1, 0] - 100, frames[0, red, :, 0] - 160, swapped


def test_targets_timesteps_and_augmentation_as_published(adobe):
    data = open_dataset("adobe240", adobe, crop=32)
    assert len(data) == 4 + 1  # windows of 9 frames: 12 - 8 in the one, 1 in the other
    middles, flags, corners = set(), [], set()
    for seed in range(300):
        sample = data.sample(seed % len(data), np.random.default_rng(seed))
        assert sample.targets.shape == (9, 32, 32) and sample.targets.dtype == np.uint8
        assert sample.inputs.shape == (6, 8, 8) and sample.inputs.dtype == np.float32
        (first, middle, last), x, y, swapped = decode(sample)
        reversed_time = first > last
        assert abs(last - first) == 8
        assert sample.timestep == np.float32((middle - first) / (last - first))
        assert isinstance(sample.timestep, np.float32)
        middles.add(middle - first)
        step_x, step_y = int(x[1]) - int(x[0]), int(y[1]) - int(y[0])
        assert abs(step_x) == abs(step_y) == 1
        flags.append((swapped, step_x < 0, step_y < 0, reversed_time))
        corners.add((int(x.min()), int(y.min())))
    assert middles == set(range(1, 8)) | set(range(-7, 0))
    share = np.mean(flags, 0)
    assert np.all(abs(share - 0.5) < 0.12), share  # four standard deviations
    assert abs(np.corrcoef(np.array(flags).T) - np.eye(4)).max() < 0.25, "augmentations must be independent"
    assert {x for x, _ in corners} == set(range(WIDTH - 31)) and {y for _, y in corners} == set(range(HEIGHT - 31))


class ThreadsOfWorker(torch.utils.data.Dataset):
    """What a loader's worker may use, after it has made a sample as it does in training."""

    def __init__(self, stream):
        self.stream = stream

    def __getitem__(self, position):
        self.stream[position]
        counts = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
        return max(counts), cv2.getNumThreads()


def test_a_worker_of_the_loader_uses_one_thread(monkeypatch):
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "2")
    stream = TrainingStream(open_dataset("synthetic", None, crop=64), 0)
    with threadpool_limits(2):  # what a worker inherits through a fork
        blas, opencv = next(iter(DataLoader(ThreadsOfWorker(stream), 1, num_workers=1, sampler=[0])))
    assert blas.item() == 1 and opencv.item() == 1


def test_time_reversal_mirrors_the_timestep():
    frames = np.stack([numbered_frame(number) for number in (0, 3, 8)])
    for seed in range(40):
        result, timestep, _ = augment_triplet(Triplet(frames, 3 / 8), np.random.default_rng(seed))
        when = (result[..., 0] if result[..., 0].max() < 100 else result[..., 2])[:, 0, 0] // 10
        assert (when.tolist(), timestep) in (([0, 3, 8], 3 / 8), ([8, 3, 0], 5 / 8))


def cubic(x: float) -> float:
    x = abs(x)
    return (1.5 * x - 2.5) * x * x + 1 if x <= 1 else ((-0.5 * x + 2.5) * x - 4) * x + 2 if x < 2 else 0.0


def reduce_row(row: np.ndarray, factor: int) -> np.ndarray:
    """MATLAB's antialiased bicubic reduction of one row of numbers, tap by tap."""
    result = []
    for place in range(-(-len(row) // factor)):
        centre = (place + 0.5) * factor - 0.5
        total = weights = 0.0
        for tap in range(int(np.floor(centre - 2 * factor)), int(np.ceil(centre + 2 * factor)) + 1):
            weight = cubic((tap - centre) / factor)
            mirrored = tap % (2 * len(row))
            total += weight * row[mirrored if mirrored < len(row) else 2 * len(row) - 1 - mirrored]
            weights += weight
        result.append(total / weights)
    return np.array(result)


def naive_reduction(frame: np.ndarray, factor: int = 4) -> np.ndarray:
    """(H, W, 3) -> (H/4, W/4, 3), one row and one column at a time."""
    rows = np.stack([[reduce_row(row[:, c], factor) for c in range(3)] for row in frame.astype(float)])
    return np.stack([[reduce_row(rows[:, c, x], factor) for c in range(3)] for x in range(rows.shape[2])]).transpose(
        2, 0, 1)


def test_inputs_are_matlab_reduced():
    rng = np.random.default_rng(0)
    frames = np.kron(rng.integers(0, 2, (3, 4, 4, 3)) * 255, np.ones((1, 8, 9, 1))).astype(np.uint8)
    sample = make_sample(Triplet(frames, 0.5), rng, augment=False)
    for place, frame in enumerate((frames[0], frames[2])):
        expected = naive_reduction(frame / 255)
        assert np.abs(sample.inputs[3 * place:3 * place + 3].transpose(1, 2, 0) - expected).max() < 1e-5
    assert sample.inputs.min() < 0 or sample.inputs.max() > 1, "bicubic overshoot must not be clipped"
    assert np.array_equal(sample.targets[3:6].transpose(1, 2, 0), frames[1])


def test_reduction_against_the_releases_figures():
    figures = np.load(FIGURES)
    from media.resize import enlarge_bicubic, reduce_bicubic
    for size in ("even", "odd"):
        assert np.abs(reduce_bicubic(figures[f"{size}_hr"]) - figures[f"{size}_lr"]).max() < 1e-3
    enlarged = enlarge_bicubic(figures["even_lr"], *figures["even_up"].shape[:2])
    assert np.abs(enlarged - figures["even_up"]).max() < 1e-3


def test_validation_samples_are_whole_or_central_and_not_augmented(adobe):
    data = open_dataset("adobe240", adobe, split="val", crop=32)
    assert len(data) == 2
    for seed in range(10):
        numbers, x, y, swapped = decode(data.sample(1, np.random.default_rng(seed), augment=False))
        assert (numbers[0], numbers[2], swapped) == (1, 9, False)
        assert x.tolist() == list(range(12, 44)) and y.tolist() == list(range(4, 36))
    whole = open_dataset("adobe240", adobe, split="val", crop=None).sample(0, np.random.default_rng(0), augment=False)
    assert whole.targets.shape == (9, HEIGHT, WIDTH)


def items(stream, positions, workers=0, **options):
    loader = torch.utils.data.DataLoader(stream, batch_size=None, sampler=positions, num_workers=workers, **options)
    return [tuple(tensor.numpy().tobytes() for tensor in item) for item in loader]


def test_stream_depends_on_seed_and_position_alone(adobe):
    def make(seed=3):
        return TrainingStream(open_dataset("adobe240", adobe, crop=32), seed)

    stream = make()
    assert stream.epoch_length == 5
    reference = items(stream, range(12))
    assert len(set(reference)) == 12
    assert items(make(), [7, 2, 11]) == [reference[7], reference[2], reference[11]]
    assert items(make(), range(12), workers=2) == reference
    assert items(make(4), range(12)) != reference

    def windows(epoch, seed):
        stream = make(seed)
        drawn = []
        blank = Triplet(np.zeros((3, 32, 32, 3), np.uint8), 0.5)
        stream.dataset.triplet = lambda index, rng, augment, motion: drawn.append(index) or blank
        for place in range(5):
            stream[5 * epoch + place]
        return drawn

    orders = [windows(epoch, seed) for epoch in range(4) for seed in (0, 1)]
    assert all(sorted(order) == list(range(5)) for order in orders), "an epoch takes every window once"
    assert len({tuple(order) for order in orders}) > 4
    assert samples_per_second(stream, 3) > 0


def test_adobe_lists(adobe, tmp_path):
    (adobe / "frame/train/IMG_2").rename(adobe / "IMG_2")  # as `prepare` writes it
    assert len(open_dataset("adobe240", adobe, crop=32)) == 5
    with pytest.raises(UserError, match="crop 64 is larger than the frames of GOPR1 \\(56x40\\)"):
        open_dataset("adobe240", adobe, crop=64)
    listing = tmp_path / "own.txt"
    listing.write_text("IMG_3\nnowhere\n")
    with pytest.raises(UserError, match="own.txt names 1 of 2 clips .*: nowhere"):
        open_dataset("adobe240", adobe, list_file=listing)
    listing.write_text("\n")
    with pytest.raises(UserError, match="empty"):
        open_dataset("adobe240", adobe, list_file=listing)
    (adobe / LISTS["train"]).unlink()
    with pytest.raises(UserError, match="VideoINR"):
        open_dataset("adobe240", adobe)


def test_vimeo90k(tmp_path):
    for name in ("00001/0001", "00001/0002", "00003/0001"):
        write_frames(tmp_path / "sequences" / name, range(1, 8), "im{}.png")
    (tmp_path / "sep_trainlist.txt").write_text("00001/0001\n00003/0001\n")
    (tmp_path / "sep_testlist.txt").write_text("00001/0002\n\n")
    data = open_dataset("vimeo90k", tmp_path, crop=16, held_out=0)
    assert len(data) == 2
    seen = set()
    for seed in range(60):
        sample = data.sample(seed % 2, np.random.default_rng(seed))
        (first, middle, last), *_ = decode(sample)
        assert {first, last} == {1, 7} and sample.timestep == np.float32((middle - first) / (last - first))
        seen.add(middle)
    assert seen == {2, 3, 4, 5, 6}
    neighbours = open_dataset("vimeo90k", tmp_path, "val", crop=16, list_file=tmp_path / "sep_testlist.txt", gap=2)
    assert len(neighbours) == 5
    assert decode(neighbours.sample(3, np.random.default_rng(0), augment=False))[0] == [4, 5, 6]
    pack(tmp_path, tmp_path / "cache")
    packed = open_dataset("vimeo90k", tmp_path / "cache", crop=16, held_out=0)
    for index in range(2):
        a, b = (source.sample(index, np.random.default_rng(5)) for source in (data, packed))
        assert np.array_equal(a.targets, b.targets) and np.array_equal(a.inputs, b.inputs)
    with pytest.raises(UserError, match="at most 6"):
        open_dataset("vimeo90k", tmp_path, gap=8)
    (tmp_path / "sep_trainlist.txt").write_text("00001/0009\n")
    with pytest.raises(UserError, match="00001/0009"):
        open_dataset("vimeo90k", tmp_path)


def test_videos_are_read_at_random_as_they_are_in_order(tmp_path):
    video = VideoFile(write_video(tmp_path / "clip.mp4", 40), "clip")
    in_order = list(video.frames())
    assert len(video) == len(in_order) == 40
    assert all(abs(float(frame[0, 0, 0]) - 6 * number) < 3 for number, frame in enumerate(in_order))
    for indices in ([0, 3, 8], [11, 12, 13], [23, 30, 39], [5], [13, 35]):
        for index, frame in zip(indices, video.read(indices)):
            assert np.array_equal(frame, in_order[index])
    write_video(tmp_path / "clip.mkv", 12)
    assert len(VideoFile(tmp_path / "clip.mkv", "clip")) == 12


def test_videos_have_the_colours_of_inference_and_of_the_field_where_asked(tmp_path):
    """4:2:0 with coloured edges: as `inference_video.py` sees it, and as OpenCV, which the field extracts with."""
    rng = np.random.default_rng(0)
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("libx264", 30)
        stream.width, stream.height, stream.pix_fmt, stream.options = 64, 48, "yuv420p", {"crf": "1"}
        for _ in range(3):
            frame = np.kron(rng.integers(0, 256, (6, 8, 3)), np.ones((8, 8, 1))).astype(np.uint8)
            for packet in stream.encode(av.VideoFrame.from_ndarray(frame, "bgr24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    ours, fields = (VideoFile(tmp_path / "a.mp4", "a", published).read([0, 2]) for published in (False, True))
    capture = cv2.VideoCapture(str(tmp_path / "a.mp4"))
    opencv = [capture.read()[1] for _ in range(3)]
    source = VideoSource(tmp_path / "a.mp4")
    stamps = [stamp.pts for stamp, _ in source.scan()]
    inference = [frame for _, frame in source.read(0, 2, stamps)]
    for place, index in enumerate((0, 2)):
        assert np.array_equal(ours[place], inference[index]) and np.array_equal(fields[place], opencv[index])
    assert np.abs(ours[0].astype(int) - fields[0]).max() > 20, "they do differ"


def test_folder_of_anything(tmp_path):
    write_video(tmp_path / "b.mp4", 40)
    write_frames(tmp_path / "deep/er/frames", range(9), "img{}.png")
    train, val = (open_dataset("folder", tmp_path, split, crop=32, gap=2, held_out=0.2) for split in ("train", "val"))
    assert len(train) == (32 - 2) + (9 - 2)  # nine frames are too few to hold some out
    assert len(val) == 8 - 2
    for seed in range(10):
        sample = train.sample(31 + seed % 6, np.random.default_rng(seed))  # a clip's name is its path: deep after b
        numbers = decode(sample)[0]
        assert sorted(numbers) == list(range(min(numbers), min(numbers) + 3)) and sample.timestep == 0.5
    dark = val.sample(0, np.random.default_rng(0), augment=False).targets[:, 0, 0]
    assert abs(dark[0] - 6.0 * 32) < 3, "validation begins where training ended"

    several = open_dataset("folder", tmp_path, crop=32, gap=(2, 6), held_out=0)
    spans = {abs(np.diff(decode(several.sample(38, np.random.default_rng(seed)))[0][::2])[0]) for seed in range(30)}
    assert len(several) == 38 + 7 and spans == {2, 6}
    last = [decode(several.sample(44, np.random.default_rng(seed)))[0] for seed in range(10)]
    assert all(sorted(numbers) == [6, 7, 8] for numbers in last), "where gap 6 does not fit, gap 2 is taken"

    half = open_dataset("folder", tmp_path, crop=16, gap=2, held_out=0, reduce=2)
    halved = half.sample(38 + 2, np.random.default_rng(0), augment=False)
    expected = cv2.resize(numbered_frame(2), (WIDTH // 2, HEIGHT // 2), interpolation=cv2.INTER_AREA)[2:18, 6:22]
    assert np.array_equal(halved.targets[:3].transpose(1, 2, 0), expected)

    (tmp_path / "list.txt").write_text("deep/er/frames\n")
    assert len(open_dataset("folder", tmp_path, list_file=tmp_path / "list.txt", gap=8, crop=32)) == 1
    (tmp_path / "list.txt").write_text("b\n")
    listed = {split: open_dataset("folder", tmp_path, split, 32, tmp_path / "list.txt", 2, held_out=0.2)
              for split in ("train", "val")}
    assert len(listed["train"]) == 32 - 2, "what is validated on without a list is not trained on with one"
    assert len(listed["val"]) == 40 - 2
    (tmp_path / "empty").mkdir()
    for options, message in (({"root": tmp_path / "empty"}, "holds no videos"), ({"root": tmp_path / "no"}, "no such"),
                             ({"root": tmp_path, "gap": 1}, "at least 2"), ({"root": tmp_path, "gap": 99}, "frames"),
                             ({"root": tmp_path, "split": "val", "gap": 30, "crop": 32}, "--val_every 0"),
                             ({"root": tmp_path, "crop": 30}, "multiple of 4"),
                             ({"root": tmp_path, "crop": 44, "gap": 2}, "larger than the frames of deep/er/frames")):
        with pytest.raises(UserError, match=message):
            open_dataset("folder", **options)


def test_mixture_draws_by_weight(adobe):
    parts = [open_dataset("adobe240", adobe, crop=32), open_dataset("synthetic", None, crop=32)]
    calls = []
    for place, part in enumerate(parts):
        part.sample = lambda *_, place=place: calls.append(place)
    mixture = Mixture(parts, [3, 1])
    assert len(mixture) == 5 + len(parts[1])
    for seed in range(800):
        mixture.sample(0, np.random.default_rng(seed))
    assert abs(np.mean(calls) - 0.25) < 0.06
    with pytest.raises(UserError, match="one crop"):
        Mixture([parts[0], open_dataset("synthetic", None, crop=64)])
    for weights in ([1], [1, 0], [1, float("nan")], [float("inf"), 1]):
        with pytest.raises(UserError, match="positive weight"):
            Mixture(parts, weights)
    with pytest.raises(UserError, match="no dataset is called"):
        open_dataset("vimeo", adobe)
