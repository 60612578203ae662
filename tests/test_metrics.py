"""The metrics against the field's reference figures and against the formula written out pixel by pixel."""
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmark import metrics

FIGURES = Path(__file__).parent / "data" / "metrics_figures.npz"


def tensor(*pictures: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)


@pytest.mark.parametrize("name", ["psnr_y", "psnr_rgb", "ssim_y"])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_reference_figures(name, dtype):
    data = np.load(FIGURES)
    prediction, truth = tensor(data["even_up_uint8"]).to(dtype), tensor(data["even_hr"]).to(dtype)
    result = getattr(metrics, name)(prediction, truth)
    assert result.dtype == torch.float64 and result.shape == (1,)
    assert abs(result.item() - data[name].item()) < 1e-6


def naive_y(picture):
    blue, green, red = (picture[..., i].astype(np.float64) for i in range(3))
    return 16 + 65.481 * red / 255 + 128.553 * green / 255 + 24.966 * blue / 255


def naive_ssim(a, b):
    line = np.array([np.exp(-(i**2) / (2 * 1.5**2)) for i in range(-5, 6)])
    window = np.outer(line, line) / np.outer(line, line).sum()
    c1, c2, values = (0.01 * 255) ** 2, (0.03 * 255) ** 2, []
    for top in range(a.shape[0] - 10):
        for left in range(a.shape[1] - 10):
            p, q = (x[top:top + 11, left:left + 11] for x in (a, b))
            mp, mq = (window * p).sum(), (window * q).sum()
            vp, vq = (window * (p - mp) ** 2).sum(), (window * (q - mq) ** 2).sum()
            cov = (window * (p - mp) * (q - mq)).sum()
            values.append((2 * mp * mq + c1) * (2 * cov + c2) / ((mp**2 + mq**2 + c1) * (vp + vq + c2)))
    return np.mean(values)


def test_batch_of_unrounded_pictures_against_the_formula():
    random = np.random.default_rng(0)
    truth = random.uniform(0, 255, (3, 13, 17, 3)).astype(np.float32)
    truth[2] = 90.25  # flat: the variances vanish and only exact arithmetic keeps them at zero
    prediction = (truth + random.normal(0, [[[[1]]], [[[20]]], [[[0.5]]]], truth.shape)).astype(np.float32)
    luma = [metrics.luma(tensor(*frames)) for frames in (prediction, truth)]
    psnr, ssim = metrics.psnr_of_luma(*luma), metrics.ssim_of_luma(*luma)
    for i in range(3):
        a, b = naive_y(prediction[i]), naive_y(truth[i])
        assert psnr[i].item() == pytest.approx(20 * np.log10(255 / np.sqrt(((a - b) ** 2).mean())), abs=1e-9)
        assert ssim[i].item() == pytest.approx(naive_ssim(a, b), abs=1e-9)
    assert torch.equal(psnr, metrics.psnr_y(tensor(*prediction), tensor(*truth)))
    assert torch.equal(ssim, metrics.ssim_y(tensor(*prediction), tensor(*truth)))


def test_equal_pictures_are_infinitely_good():
    black = torch.zeros(1, 3, 16, 16)
    assert metrics.psnr_y(black, black).item() == float("inf")
    assert metrics.psnr_rgb(black, black).item() == float("inf")
    assert metrics.ssim_y(black, black).item() == 1


def test_pure_colours_have_the_luma_of_the_standard():
    colours = torch.zeros(4, 3, 1, 1)
    colours[0] = 255  # white
    colours[1, 2], colours[2, 1], colours[3, 0] = 255, 255, 255  # red, green, blue in BGR order
    assert metrics.luma(colours).flatten().tolist() == pytest.approx([235, 81.481, 144.553, 40.966], abs=1e-9)


@pytest.mark.parametrize("shapes", [((1, 3, 16, 16), (1, 3, 16, 17)), ((3, 16, 16), (3, 16, 16)),
                                    ((1, 3, 10, 40), (1, 3, 10, 40))])
def test_wrong_shapes_are_refused(shapes):
    with pytest.raises(ValueError):
        metrics.ssim_y(*(torch.zeros(shape) for shape in shapes))
