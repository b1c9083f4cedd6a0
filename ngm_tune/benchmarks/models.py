"""Networks of the protocol (arXiv 2507.14056, section 3)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn


class MLP(nn.Sequential):
    """A multilayer perceptron with ReLU and without biases, on flattened inputs.

    The paper's 784-400-400-C network has initial weights from N(0, 0.01²) in hidden layers and
    N(0, 0.05²) in the output layer, and zero biases that are not trained. A ReLU network without
    biases is positively homogeneous: a gain g on all L layers multiplies the logits by g^L and does
    not change the predictions.

    Args:
        widths: Units per layer, from inputs to classes, e.g. ``(784, 400, 400, 10)``.
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


class SlimResNet18(nn.Sequential):
    """The slim ResNet-18 of continual learning (Lopez-Paz and Ranzato 2017; arXiv 2507.14056).

    The network has a 3x3 stem without pooling, four stages of two basic blocks with 20, 40, 80 and
    160 channels, global average pooling, and a linear head without a bias. The initial weights of
    the head are from N(0, 0.05²).

    Args:
        classes: Outputs C of the head.
        width: Channels of the first stage.
        channels: Channels of the images.
        blocks: Basic blocks per stage.
    """

    def __init__(
        self, classes: int, width: int = 20, *, channels: int = 3, blocks: int = 2
    ) -> None:
        widths = [width, 2 * width, 4 * width, 8 * width]
        stages = [
            nn.Sequential(
                BasicBlock(before, after, stride=1 if stage == 0 else 2),
                *(BasicBlock(after, after) for _ in range(blocks - 1)),
            )
            for stage, (before, after) in enumerate(pairwise([width, *widths]))
        ]
        head = nn.Linear(widths[-1], classes, bias=False)
        nn.init.normal_(head.weight, std=0.05)
        super().__init__(
            OrderedDict(
                stem=nn.Sequential(_conv3x3(channels, width), nn.BatchNorm2d(width), nn.ReLU()),
                stages=nn.Sequential(*stages),
                pool=nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
                head=head,
            )
        )
        self._channels_last = width >= 8

    def forward(self, x: Tensor) -> Tensor:
        """Compute logits of shape (B, classes) from images of shape (B, channels, H, W).

        On a CPU, activations are stored with channels last, because convolutions are then faster.
        Parameters keep torch's default layout, which optimizers may rely on. Networks with fewer
        than 8 channels do not use channels last: the gradient of their 1x1 convolutions writes out
        of bounds on processors with AVX2 only (oneDNN 3.13.3, in torch 2.15.0).
        """
        if x.device.type == "cpu" and self._channels_last:
            x = x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)  # works under vmap
        return super().forward(x)  # type: ignore[no-any-return, no-untyped-call]


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut connection (He et al. 2016)."""

    def __init__(self, channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            _conv3x3(channels, out_channels, stride),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(),
            _conv3x3(out_channels, out_channels),
            nn.BatchNorm2d(out_channels),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels != out_channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels, out_channels, kernel_size=1, stride=stride, bias=False),
                nn.BatchNorm2d(out_channels),
            )

    def forward(self, x: Tensor) -> Tensor:
        """Map shape (B, channels, H, W) to (B, out_channels, H / stride, W / stride)."""
        return torch.relu(self.residual(x) + self.shortcut(x))


def _conv3x3(channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(channels, out_channels, kernel_size=3, stride=stride, padding=1, bias=False)
