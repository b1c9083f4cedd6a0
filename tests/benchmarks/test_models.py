"""Networks of the benchmarks."""

from __future__ import annotations

import pytest
import torch

from ngm_tune import NGMSGD
from ngm_tune.benchmarks.models import SlimResNet18
from ngm_tune.learners.regularisation import fisher_diagonal


def test_slim_resnet_has_the_papers_shape() -> None:
    torch.manual_seed(0)
    model = SlimResNet18(classes=10)
    x = torch.randn(2, 3, 32, 32)
    stages = model.stages(model.stem(x))
    assert stages.shape == (2, 160, 4, 4)
    assert model.pool(stages).shape == (2, 160)
    assert model(x).shape == (2, 10)
    head = model.head
    assert isinstance(head, torch.nn.Linear)
    assert head.bias is None
    assert abs(head.weight.std().item() - 0.05) < 0.005
    convolutions = [m for m in model.modules() if isinstance(m, torch.nn.Conv2d)]
    # Stem, sixteen of the blocks, three shortcuts.
    assert [m.kernel_size for m in convolutions].count((3, 3)) == 17
    assert [m.kernel_size for m in convolutions].count((1, 1)) == 3
    assert sorted({m.out_channels for m in convolutions}) == [20, 40, 80, 160]


def test_the_output_layer_of_a_resnet_is_its_head() -> None:
    model = SlimResNet18(classes=5, width=4)
    optimizer = NGMSGD(model, layers="output", backbone_momentum=0.9)
    head, backbone = optimizer.param_groups
    assert [tuple(p.shape) for p in head["params"]] == [(5, 32)]
    assert head["momentum"] == 0.0
    assert backbone["momentum"] == 0.9
    assert len(backbone["params"]) == len(list(model.parameters())) - 1


def test_channels_last_changes_rounding_only() -> None:
    torch.manual_seed(0)
    model = SlimResNet18(classes=10)
    x, labels = torch.randn(8, 3, 32, 32), torch.arange(8)
    logits = model(x)
    plain = torch.nn.Sequential(*model.children())(x)
    torch.testing.assert_close(logits, plain, rtol=1e-4, atol=1e-5)
    assert model.stages(model.stem(x)).is_contiguous()
    torch.nn.functional.cross_entropy(logits, labels).backward()
    for parameter in model.parameters():
        assert parameter.is_contiguous()
        assert parameter.grad is not None
        assert parameter.grad.is_contiguous()


@pytest.mark.parametrize("width", [4, 8])
def test_per_example_gradients_of_a_resnet(width: int) -> None:
    """EWC squares these gradients for the Fisher information; both memory layouts are tested."""
    torch.manual_seed(0)
    model = SlimResNet18(classes=3, width=width, blocks=1)
    inputs = torch.randn(5, 3, 32, 32)
    fisher = fisher_diagonal(model, inputs)
    torch.manual_seed(0)
    model = SlimResNet18(classes=3, width=width, blocks=1).eval()
    torch.testing.assert_close(torch.randn(5, 3, 32, 32), inputs)
    labels = torch.multinomial(model(inputs).softmax(dim=1), 1)
    expected = {name: torch.zeros_like(p) for name, p in model.named_parameters()}
    for example, label in zip(inputs, labels, strict=True):
        model.zero_grad()
        torch.nn.functional.cross_entropy(model(example.unsqueeze(0)), label).backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None
            expected[name] += parameter.grad.square() / 5
    for name, value in expected.items():
        torch.testing.assert_close(fisher[name], value, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("width", [1, 2, 3, 6, 8, 12])
def test_networks_of_any_width_have_gradients(width: int) -> None:
    """oneDNN crashes with fewer than 8 channels in channels-last layout on AVX2-only processors."""
    torch.manual_seed(0)
    model = SlimResNet18(classes=3, width=width, blocks=1)
    for _ in range(10):
        model(torch.randn(4, 3, 32, 32)).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
