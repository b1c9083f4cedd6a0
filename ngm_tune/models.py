"""The networks of the protocol."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import nn


class MLP(nn.Sequential):
    """Multilayer perceptron without biases: flatten, then linear layers with ReLU in between.

    The paper's 784-400-400-C network starts with N(0, 0.01²) hidden and N(0, 0.05²) output weights,
    and its biases are zero and stay zero. Without biases a ReLU network is positively homogeneous:
    a gain g on all L layers scales the logits by g^L and leaves the predictions unchanged.

    Args:
        widths: Units per layer, from input to classes, e.g. ``(784, 400, 400, 10)``.
        hidden_std: Standard deviation of the initial hidden weights.
        output_std: Standard deviation of the initial output weights.
    """

    def __init__(self, widths: Sequence[int], *, hidden_std: float, output_std: float) -> None:
        layers: list[nn.Module] = [nn.Flatten()]
        for fan_in, fan_out in pairwise(widths[:-1]):
            layers += [nn.Linear(fan_in, fan_out, bias=False), nn.ReLU()]
        layers.append(nn.Linear(widths[-2], widths[-1], bias=False))
        super().__init__(*layers)
        *hidden, output = (layer for layer in layers if isinstance(layer, nn.Linear))
        for layer in hidden:
            nn.init.normal_(layer.weight, std=hidden_std)
        nn.init.normal_(output.weight, std=output_std)
