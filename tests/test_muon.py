"""The optimiser Muon: its steps against a singular value decomposition, and AdamW where it is that."""
import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from training.muon import Muon, orthogonalized


@pytest.mark.parametrize("rows,columns", [(16, 40), (40, 16), (24, 24)])
def test_orthogonalized_keeps_singular_vectors_and_levels_singular_values(rows, columns):
    torch.manual_seed(0)
    matrices = torch.randn(3, rows, columns)
    for matrix, found in zip(matrices, orthogonalized(matrices)):
        left, before, right = torch.linalg.svd(matrix, full_matrices=False)
        values = left.T @ found @ right.T  # diagonal, if its singular vectors are the matrix's
        assert (values - values.diagonal().diag()).abs().max() < 1e-3
        strong = values.diagonal()[before > 0.02 * before.norm()]
        assert len(strong) >= 16 - 1 and strong.min() > 0.5 and strong.max() < 1.3


def test_the_scale_of_a_gradient_does_not_matter_and_a_vanishing_one_does_no_harm():
    torch.manual_seed(0)
    matrices = torch.randn(2, 16, 32)
    assert torch.allclose(orthogonalized(matrices), orthogonalized(1e-4 * matrices), atol=1e-3)
    assert torch.equal(orthogonalized(torch.zeros(1, 4, 8)), torch.zeros(1, 4, 8))


def make_network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 16, 3), nn.PReLU(16), nn.Conv2d(16, 24, 3), nn.Conv2d(24, 24, 3),
                         nn.Conv2d(24, 5, 3))


def train(network, optimizer, steps, first=0):
    for step in range(first, first + steps):
        image = torch.rand(2, 3, 12, 12, generator=torch.Generator().manual_seed(step))
        F.mse_loss(network(image), image[:, :1, 4:-4, 4:-4].expand(-1, 5, -1, -1)).backward()
        optimizer.step()
        optimizer.zero_grad()


def test_hidden_convolutions_move_by_the_size_of_adamws_steps_and_the_rest_by_adamw():
    """0.2 is the root mean square of AdamW's steps that Muon's are scaled to."""
    network = make_network()
    before, other = copy.deepcopy(network), copy.deepcopy(network)
    for parameter, same in zip(network.parameters(), other.parameters()):
        parameter.grad = torch.randn_like(parameter)
        same.grad = parameter.grad.clone()
    Muon(network.parameters(), 1e-3, weight_decay=0.0).step()
    torch.optim.AdamW(other.parameters(), 1e-3, weight_decay=0.0).step()
    for name, parameter in network.named_parameters():
        step = parameter - before.get_parameter(name)
        if name in ("2.weight", "3.weight"):
            assert 0.12e-3 < step.square().mean().sqrt() < 0.26e-3
            assert not torch.equal(parameter, other.get_parameter(name))
        else:
            assert torch.equal(parameter, other.get_parameter(name))


def test_it_learns_weak_directions_too():
    """What it is there for: directions of very different strength, of which plain steps learn the strong ones only."""
    def loss_after(make):
        torch.manual_seed(0)
        layer = nn.Conv2d(16, 16, 1, bias=False)
        target, strengths = torch.randn(16, 16), torch.logspace(0, -3, 16)
        optimizer = make(layer.parameters())
        for step in range(150):
            for group in optimizer.param_groups:
                group["lr"] = 0.1 * (1 - step / 150)
            optimizer.zero_grad()
            loss = ((layer.weight[..., 0, 0] - target) * strengths).square().sum()
            loss.backward()
            optimizer.step()
        return ((layer.weight[..., 0, 0] - target).square().mean()).item()

    assert loss_after(lambda p: Muon(p, 0.1, 0.0)) < loss_after(lambda p: torch.optim.SGD(p, 0.1, momentum=0.95))


def test_weights_decay_in_proportion_to_the_learning_rate():
    network = make_network()
    kept, decayed = copy.deepcopy(network), copy.deepcopy(network)
    train(kept, Muon(kept.parameters(), 1e-2, weight_decay=0.0), 1)
    train(decayed, Muon(decayed.parameters(), 1e-2, weight_decay=0.5), 1)
    for name in ("0.weight", "2.weight"):
        expected = kept.get_parameter(name) - 1e-2 * 0.5 * network.get_parameter(name)
        assert torch.allclose(decayed.get_parameter(name), expected, atol=1e-6)


def test_going_on_from_its_state_gives_the_same_weights():
    whole, halves = make_network(), make_network()
    train(whole, Muon(whole.parameters(), 1e-3, 1e-4), 4)
    first = Muon(halves.parameters(), 1e-3, 1e-4)
    train(halves, first, 2)
    second = Muon(halves.parameters(), 1e-3, 1e-4)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    train(halves, second, 2, first=2)
    for one, other in zip(whole.parameters(), halves.parameters()):
        assert torch.equal(one, other)
