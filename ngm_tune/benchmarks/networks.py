"""Builders of the benchmarks' networks; they import torch when they are called."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ngm_tune.benchmarks.models import MLP, SlimResNet18


def build_mlp(widths: tuple[int, ...], hidden_std: float, output_std: float) -> MLP:
    """Build a :class:`~ngm_tune.benchmarks.models.MLP`."""
    from ngm_tune.benchmarks.models import MLP

    return MLP(widths, hidden_std=hidden_std, output_std=output_std)


def build_slim_resnet18(classes: int, channels: int = 3) -> SlimResNet18:
    """Build a :class:`~ngm_tune.benchmarks.models.SlimResNet18`."""
    from ngm_tune.benchmarks.models import SlimResNet18

    return SlimResNet18(classes, channels=channels)


RESNET_SETTINGS: dict[str, str | float] = {"layers": "output", "backbone_momentum": 0.9}
"""Settings of the authors for ResNets: a gain on the head only, and a backbone with momentum."""
