"""PSNR and SSIM as the field computes them, batched, in float64; and tOF, a measure of flicker.

PSNR and SSIM take (N, 3, H, W) tensors, BGR, any number type, values 0..255 (not necessarily whole: nothing is
rounded here), on any device, and give one float64 figure per image, (N,), on the CPU or on the tensors' device.
No border is cut off.
"""
import math

import cv2
import numpy as np
import torch

WINDOW, SIGMA = 11, 1.5  # SSIM's Gaussian: Wang et al. 2004
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def luma(frames: torch.Tensor) -> torch.Tensor:
    """Y of ITU-R BT.601, studio range: (65.481 R + 128.553 G + 24.966 B) / 255 + 16.

    Args:
        frames: (N, 3, H, W) BGR, 0..255.

    Returns:
        (N, H, W) float64, 16..235, not rounded.
    """
    blue, green, red = _exact(frames).unbind(1)
    return (24.966 * blue + 128.553 * green + 65.481 * red) / 255 + 16


def psnr_y(prediction: torch.Tensor, ground_truth: torch.Tensor) -> torch.Tensor:
    """PSNR on Y in dB, peak 255; infinite where the two are the same."""
    _check(prediction, ground_truth)
    return psnr_of_luma(luma(prediction), luma(ground_truth))


def psnr_rgb(prediction: torch.Tensor, ground_truth: torch.Tensor) -> torch.Tensor:
    """PSNR in dB of the squared error averaged over the three channels, peak 255."""
    _check(prediction, ground_truth)
    return _psnr((_exact(prediction) - _exact(ground_truth)).square().mean((1, 2, 3)))


def ssim_y(prediction: torch.Tensor, ground_truth: torch.Tensor) -> torch.Tensor:
    """SSIM on Y: 11x11 Gaussian of sigma 1.5, positions where the window lies wholly inside the image.

    Raises:
        ValueError: the images differ in size, or are smaller than the window.
    """
    _check(prediction, ground_truth)
    if min(ground_truth.shape[2:]) < WINDOW:
        raise ValueError(f"SSIM needs images of at least {WINDOW}x{WINDOW}, got {tuple(ground_truth.shape[2:])}")
    return ssim_of_luma(luma(prediction), luma(ground_truth))


def psnr_of_luma(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """`psnr_y` of (N, H, W) Y that is at hand."""
    return _psnr((x - y).square().mean((1, 2)))


def ssim_of_luma(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """`ssim_y` of (N, H, W) Y that is at hand."""
    maps = torch.stack([x, y, x * x + y * y, x * y])  # the two variances are only ever needed as a sum
    mean_x, mean_y, squares, products = _blur(_blur(maps, 2), 3)
    covariance = products - mean_x * mean_y
    means = mean_x.square() + mean_y.square()
    similarity = ((2 * mean_x * mean_y + C1) * (2 * covariance + C2)) / ((means + C1) * (squares - means + C2))
    return similarity.mean((1, 2))


def flow_difference(before: tuple[np.ndarray, np.ndarray], after: tuple[np.ndarray, np.ndarray]) -> float:
    """tOF: how far the motion from one frame to the next is from the true motion, in pixels; 0 is best.

    The mean Euclidean distance between two optical flows, of the predicted frames and of the true ones; each is
    OpenCV's Farneback flow on gray frames of 8 bits with the settings of TecoGAN's evaluation (Chu et al., ACM
    Transactions on Graphics 2020: 3 levels of 0.5, window 15, 3 iterations, neighbourhood 5, sigma 1.2).

    Args:
        before, after: the predicted and the true frame, HxWx3 BGR in 0..255.
    """
    grays = [[cv2.cvtColor(np.clip(np.rint(frame), 0, 255).astype(np.uint8), cv2.COLOR_BGR2GRAY) for frame in pair]
             for pair in zip(before, after, strict=True)]
    predicted, true = (
        cv2.calcOpticalFlowFarneback(first, second, None, 0.5, 3, 15, 3, 5, 1.2, 0)  # type: ignore[call-overload]
        for first, second in grays)
    return float(np.linalg.norm(predicted - true, axis=2).mean())


def _exact(frames: torch.Tensor) -> torch.Tensor:
    # SSIM subtracts nearly equal numbers, so it is computed in float64. Apple's GPUs have none: go to the CPU.
    return (frames.cpu() if frames.device.type == "mps" else frames).double()


def _psnr(squared_error: torch.Tensor) -> torch.Tensor:
    return 10 * torch.log10(255.0**2 / squared_error)  # division by zero is infinity, as it should be


def _blur(maps: torch.Tensor, axis: int) -> torch.Tensor:
    """Gaussian along one axis, valid part only. Shifted sums are faster than float64 convolution."""
    taps = [math.exp(-((i - WINDOW // 2) ** 2) / (2 * SIGMA**2)) for i in range(WINDOW)]
    total, length = sum(taps), maps.shape[axis] - WINDOW + 1
    blurred = maps.narrow(axis, 0, length) * (taps[0] / total)
    for i in range(1, WINDOW):
        blurred.add_(maps.narrow(axis, i, length), alpha=taps[i] / total)
    return blurred


def _check(prediction: torch.Tensor, ground_truth: torch.Tensor) -> None:
    if prediction.shape != ground_truth.shape or ground_truth.ndim != 4 or ground_truth.shape[1] != 3:
        raise ValueError(f"expected two (N, 3, H, W) tensors of one shape, got {tuple(prediction.shape)} "
                         f"and {tuple(ground_truth.shape)}")
