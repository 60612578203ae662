"""Muon: steps whose matrices are orthogonal, so that every direction is learned and not the strongest alone."""
from collections.abc import Iterable

import torch
from torch import nn

_MOMENTUM = 0.95
_ITERATIONS = 5
_COEFFICIENTS = 3.4445, -4.7750, 2.0315  # of x -> a x + b x^3 + c x^5, which takes (0, 1] to about 1 in few iterations
_LEAST_CHANNELS = 16  # on both sides: what comes from or goes to pixels is no hidden matrix


class Muon(torch.optim.AdamW):
    """Muon for the convolutions between hidden layers, AdamW for everything else.

    A convolution's weight is a matrix of its output channels by all the rest. Its step is the momentum with all
    singular values brought to about 1 (K. Jordan and others, "Muon: an optimizer for hidden layers in neural networks",
    2024), times 0.2 sqrt(larger side), which gives it the size AdamW's steps have: one learning rate does for both
    (J. Liu and others, "Muon is scalable for LLM training", 2025).

    Args:
        parameters: of the network.
        lr, weight_decay: of both.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float, weight_decay: float):
        matrices: list[nn.Parameter] = []
        others: list[nn.Parameter] = []
        for parameter in parameters:
            hidden = parameter.ndim == 4 and min(parameter.shape[:2]) >= _LEAST_CHANNELS
            (matrices if hidden else others).append(parameter)
        groups = [{"params": others, "hidden": False}, {"params": matrices, "hidden": True}]
        super().__init__([group for group in groups if group["params"]], lr, weight_decay=weight_decay)

    @torch.no_grad()
    def step(self, closure=None):
        """One step of all parameters that have a gradient. Their gradients are used up by it."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            if group["hidden"]:
                self._step_matrices(group)
                for parameter in group["params"]:
                    parameter.grad = None  # AdamW passes over those
        super().step()
        return loss

    def _step_matrices(self, group: dict) -> None:
        alike: dict[torch.Size, list[nn.Parameter]] = {}  # worked on together: dozens of small matrices
        for parameter in group["params"]:
            if parameter.grad is not None:
                alike.setdefault(parameter.shape, []).append(parameter)
        for parameters in alike.values():
            directions = torch.stack([self._direction(parameter).flatten(1) for parameter in parameters])
            steps = orthogonalized(directions) * (0.2 * max(directions.shape[1:]) ** 0.5)
            for parameter, step in zip(parameters, steps):
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.sub_(step.view(parameter.shape), alpha=group["lr"])

    def _direction(self, parameter: nn.Parameter) -> torch.Tensor:
        """Nesterov's momentum."""
        state = self.state[parameter]
        if not state:
            state["step"] = torch.tensor(0.0)  # AdamW looks for it in every state it loads
            state["momentum"] = torch.zeros_like(parameter)
        gradient = parameter.grad
        assert gradient is not None
        state["momentum"].mul_(_MOMENTUM).add_(gradient)
        return torch.add(gradient, state["momentum"], alpha=_MOMENTUM)


def orthogonalized(matrices: torch.Tensor) -> torch.Tensor:
    """Matrices (N, rows, columns) with the same singular vectors and all singular values brought near 1.

    By Newton-Schulz iterations; those above a fiftieth of the matrix's norm end between 0.6 and 1.3. All of them are
    polynomials of x x^T, so the iterations run on that, which is square and small, and meet the matrix once.
    """
    a, b, c = _COEFFICIENTS
    wide = matrices.mT if matrices.shape[1] > matrices.shape[2] else matrices
    x = wide / wide.norm(dim=(1, 2), keepdim=True).clamp(min=1e-12)
    square = x @ x.mT
    one = torch.eye(square.shape[-1], dtype=x.dtype, device=x.device)
    product = one
    for _ in range(_ITERATIONS):
        factor = a * one + b * square + c * square @ square
        product = factor @ product
        square = factor @ square @ factor
    x = product @ x
    return x.mT if wide is not matrices else x
