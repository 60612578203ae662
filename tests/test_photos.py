"""Photographs under a moving camera: whole pixels of one photograph, and a motion that is exact."""
import cv2
import numpy as np
import pytest

from common.errors import UserError
from data.open import dataset_specs, open_mixture
from dataset import open_dataset


@pytest.fixture
def folder(tmp_path):
    """Twelve photographs whose pixels all differ from their neighbours."""
    (tmp_path / "photos").mkdir()
    for number in range(12):
        pixels = np.random.default_rng(number).integers(0, 256, (70, 90, 3), np.uint8)
        cv2.imwrite(str(tmp_path / "photos" / f"{number:02}.png"), pixels)
    return tmp_path / "photos"


def test_frames_are_the_photograph_shifted_by_whole_pixels_as_the_motion_says(folder):
    data = open_dataset("photos", None, crop=32, photos=folder)
    timesteps, longest = set(), 0.0
    rows, columns = np.mgrid[:32, :32]
    for seed in range(60):
        frames, timestep, motion = data.triplet(seed % len(data), np.random.default_rng(seed), True, motion=True)
        timesteps.add(timestep)
        for place in range(3):
            for end in (0, 1):
                x, y = (grid + flow for grid, flow in zip((columns, rows), motion.flow[place, 2 * end:2 * end + 2]))
                seen = (x >= 0) & (x < 32) & (y >= 0) & (y < 32)
                assert np.array_equal(motion.confidence[place, end], seen)
                there = frames[2 * end][y[seen].astype(int), x[seen].astype(int)]
                assert np.array_equal(frames[place][seen], there), "the same pixels, not interpolated"
        to_end = motion.flow[:, 2:, 0, 0]
        np.testing.assert_allclose(to_end[1], to_end[0] * (1 - timestep), atol=1e-4)  # the camera is steady
        longest = max(longest, np.abs(to_end[0]).max())
    assert longest == 16 and timesteps == {k / steps for steps in (2, 3, 5, 7) for k in range(1, steps)}


def test_the_inputs_of_a_training_lie_at_every_fraction_of_a_low_resolution_pixel(folder):
    """Shifted by whole low-resolution pixels they would be the same samples, and the one no help to the other."""
    data = open_mixture(dataset_specs(["photos"], [], gap=[2, 4, 8], photos=[folder]), "train", 32)
    rngs = [np.random.default_rng(seed) for seed in range(300)]
    ways = np.array([data.triplet(0, rng, True, motion=True).motion.flow[0, 2:, 0, 0] for rng in rngs])
    places, counts = np.unique(ways % 4, axis=0, return_counts=True)
    assert len(places) == 16 and counts.max() < 100


def test_a_photograph_that_just_fits_is_taken_as_it_is(tmp_path):
    photo = np.random.default_rng(0).integers(0, 256, (48, 48, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "a.png"), photo)
    data = open_dataset("photos", None, crop=32, photos=tmp_path)
    scenes = (photo, photo.transpose(1, 0, 2))
    windows = {scene[y:y + 32, x:x + 32].tobytes() for scene in scenes for y in range(17) for x in range(17)}
    for seed in range(8):
        frames = data.triplet(0, np.random.default_rng(seed), True).frames
        assert all(frame.tobytes() in windows for frame in frames)


def test_samples_repeat_and_those_for_validation_are_of_other_photographs(folder):
    data = {split: open_dataset("photos", None, split, crop=32, photos=folder, val_photos=["00*", "01*"])
            for split in ("train", "val")}
    assert [len(data[split]) for split in ("train", "val")] == [10, 2]
    first, again, other = (data["train"].sample(3, np.random.default_rng(seed), flow=True) for seed in (5, 5, 6))
    assert first.targets.shape == (9, 32, 32) and first.flow.shape == (3, 4, 8, 8)
    assert np.array_equal(first.targets, again.targets) and not np.array_equal(first.targets, other.targets)


def test_of_two_photographs_one_is_for_validation(folder):
    for file in sorted(folder.iterdir())[2:]:
        file.unlink()
    train, val = (open_dataset("photos", None, split, crop=32, photos=folder) for split in ("train", "val"))
    assert len(train) == len(val) == 1
    assert not np.array_equal(train._photos[0], val._photos[0])


def test_a_mixture_needs_no_folder_for_it_and_mistakes_are_one_line(folder, tmp_path):
    mixture = open_mixture(dataset_specs(["photos", "synthetic"], [], photos=[folder]), "train", 32)
    assert [len(part) for part in mixture.datasets] == [10, 10000]
    with pytest.raises(UserError, match="--photos"):
        open_dataset("photos", None, crop=32)
    with pytest.raises(UserError, match="only 70 pixels .* crop 64 needs 80"):
        open_dataset("photos", None, crop=64, photos=folder)
    with pytest.raises(UserError, match="no such folder of photos"):
        open_dataset("photos", None, crop=32, photos=tmp_path / "none")
