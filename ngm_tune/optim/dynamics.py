"""Dynamics of the neuronal gain (arXiv 2507.14056)."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def next_gain(
    gain: Tensor, entropy: Tensor, *, sensitivity: float, smoothing: float, baseline: Tensor
) -> Tensor:
    """Compute g_{t+1} from g_t and H_t with the leaky integrator of arXiv 2507.14056.

    Args:
        gain: g_t, a scalar.
        entropy: H_t, a scalar in nats.
        sensitivity: eta.
        smoothing: gamma.
        baseline: g_0, a scalar.

    Returns:
        g_{t+1}, a scalar.
    """
    return torch.lerp(baseline, gain, smoothing) + sensitivity * entropy


def check_dynamics(sensitivity: float, smoothing: float, baseline: float) -> None:
    """Raise ``ValueError`` if a setting is out of range or makes the gain unstable."""
    if not 0.0 <= sensitivity < math.inf:
        raise ValueError(f"Invalid gain sensitivity: {sensitivity} (must be finite and >= 0)")
    if not 0.0 <= smoothing < 1.0:
        raise ValueError(f"Invalid entropy smoothing: {smoothing} (must be in [0, 1))")
    if not 0.0 < baseline < math.inf:
        raise ValueError(f"Invalid baseline gain: {baseline} (must be finite and > 0)")
