"""Continual evaluation: accuracy on any of the tasks, as often as one likes.

Evaluating after every iteration costs far more than training, so this is where a run's time goes.
"""

from __future__ import annotations

import platform
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ngm_tune.benchmarks.tasks import TaskSplit
from ngm_tune.training.options import Precision

_CHUNK = 1024
"""Examples per forward pass."""

_ROUNDING = 2.0**-5
"""Two logits nearer than this share of the largest are told apart in float32 only.

A bfloat16 has 8 significant bits, and rounding errors add up from layer to layer. On MNIST and
CIFAR-10, logits were seen to move by up to 0.0098 of the largest (the example's, or the mean over
examples where that is larger), so two of them approach each other by up to 0.02."""


def has_bfloat16(device: torch.device) -> bool:
    """Whether a device computes in bfloat16 by itself."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if platform.machine().lower() in ("x86_64", "amd64"):
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    there = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return bool(there and torch.ops.mkldnn._is_mkldnn_bf16_supported())


class _Examples(NamedTuple):
    """Examples of some tasks, N in all, with what is needed to count per task."""

    inputs: Tensor
    rounded: Tensor | None
    """The inputs in bfloat16, for precisions that use it."""
    labels: Tensor
    sizes: list[int]
    """Examples of each of the tasks, which follow each other."""


class Evaluator:
    """Measures accuracy and loss on the tasks of a benchmark. Runs may share one.

    Args:
        examples: What accuracy is measured on, as the network takes it.
        precision: What forward passes compute in.
        device: Where to evaluate.
    """

    def __init__(
        self,
        examples: TaskSplit,
        precision: Precision = "float32",
        device: torch.device | str = "cpu",
    ) -> None:
        if precision == "mixed" and not has_bfloat16(torch.device(device)):
            precision = "float32"
        self.precision = precision
        self._split = examples.to(device)
        self._rounded = None if precision == "float32" else self._split.inputs.bfloat16()
        self._prefixes: dict[tuple[int, ...], _Examples] = {}
        self._chosen: tuple[tuple[int, ...], _Examples] | None = None

    @property
    def tasks(self) -> int:
        """K, the number of tasks."""
        return len(self._split.sizes)

    @torch.no_grad()
    def __call__(self, model: nn.Module, tasks: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Evaluate a model, which is left in evaluation mode.

        Returns:
            Accuracy as a fraction and cross-entropy in nats, each of shape (K,); NaN for the tasks
            not asked for.
        """
        model.eval()
        examples = self._of(tuple(tasks))
        logits = self._logits(model, examples)
        correct = (logits.argmax(dim=1) == examples.labels).float()
        losses = F.cross_entropy(logits, examples.labels, reduction="none")
        found = torch.stack((correct, losses))
        means = found.new_full((2, self.tasks), torch.nan)
        for task, its in zip(tasks, torch.split(found, examples.sizes, dim=1), strict=True):
            means[:, task] = its.mean(dim=1)
        accuracy, loss = means
        return accuracy, loss

    def _logits(self, model: nn.Module, examples: _Examples) -> Tensor:
        """Of all examples, shape (N, C), float32."""
        if examples.rounded is None:
            return _in_chunks(model, examples.inputs)
        with torch.autocast(examples.rounded.device.type, torch.bfloat16):
            logits = _in_chunks(model, examples.rounded).float()
        if self.precision == "mixed":
            largest = logits.topk(2, dim=1).values
            margin = largest[:, 0] - largest[:, 1]
            scale = logits.abs().amax(dim=1)
            # Turned round, so that logits that are no numbers count as close.
            close = ~(margin > _ROUNDING * torch.maximum(scale, scale.mean()))
            if close.any():
                logits[close] = _in_chunks(model, examples.inputs[close])
        return logits

    def _of(self, tasks: tuple[int, ...]) -> _Examples:
        """The examples of some tasks; of those that need a copy, the last asked for are kept."""
        if tasks == tuple(range(len(tasks))):  # a prefix needs no copy
            if tasks not in self._prefixes:
                end = self._split.seen(len(tasks))
                self._prefixes[tasks] = self._taken(tasks, [slice(0, end)])
            return self._prefixes[tasks]
        if self._chosen is None or self._chosen[0] != tasks:
            ends = [self._split.seen(task + 1) for task in tasks]
            parts = [
                slice(end - self._split.sizes[task], end)
                for task, end in zip(tasks, ends, strict=True)
            ]
            self._chosen = tasks, self._taken(tasks, parts)
        return self._chosen[1]

    def _taken(self, tasks: tuple[int, ...], parts: Sequence[slice]) -> _Examples:
        def chosen(values: Tensor) -> Tensor:
            return values[parts[0]] if len(parts) == 1 else torch.cat([values[p] for p in parts])

        return _Examples(
            chosen(self._split.inputs),
            None if self._rounded is None else chosen(self._rounded),
            chosen(self._split.labels),
            [self._split.sizes[task] for task in tasks],
        )


def _in_chunks(model: nn.Module, inputs: Tensor) -> Tensor:
    if len(inputs) <= _CHUNK:
        logits: Tensor = model(inputs)
        return logits
    return torch.cat([model(part) for part in torch.split(inputs, _CHUNK)])
