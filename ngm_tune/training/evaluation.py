"""Continual evaluation: accuracy and loss on a selection of the tasks.

With an evaluation after every iteration, evaluation takes most of the time of a run.
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
"""Maximal number of examples per forward pass."""

_ROUNDING = 2.0**-5
"""Logits that differ by less than this fraction of the largest logit are recomputed in float32.

A bfloat16 has 8 significant bits, and rounding errors accumulate over the layers. On MNIST and
CIFAR-10, rounding changed logits by up to 0.0098 of the largest one (of the example, or its mean
over examples where that is larger). The difference of two logits changes by at most twice as
much."""


def has_bfloat16(device: torch.device) -> bool:
    """Whether a device computes in bfloat16 without emulation."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if platform.machine().lower() in ("x86_64", "amd64"):
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    has_mkldnn = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return bool(has_mkldnn and torch.ops.mkldnn._is_mkldnn_bf16_supported())


class _Examples(NamedTuple):
    """Evaluation examples of a selection of tasks, N examples in total."""

    inputs: Tensor
    rounded: Tensor | None
    """The inputs in bfloat16; None with precision ``"float32"``."""
    labels: Tensor
    sizes: list[int]
    """Number of examples of each selected task, in their order."""


class Evaluator:
    """Measures accuracy and loss on the tasks of a benchmark. Several runs can share an evaluator.

    Args:
        examples: Evaluation examples; their inputs are inputs of the network.
        precision: Precision of forward passes. On a device without bfloat16, ``"mixed"`` becomes
            ``"float32"``.
        device: Device to evaluate on.
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
        self._split = examples.materialized().to(device)
        self._rounded = None if precision == "float32" else self._split.inputs.bfloat16()
        self._prefixes: dict[tuple[int, ...], _Examples] = {}
        self._copied: tuple[tuple[int, ...], _Examples] | None = None

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of evaluated examples of each task."""
        return self._split.sizes

    @property
    def tasks(self) -> int:
        """K, the number of tasks."""
        return len(self.sizes)

    @torch.no_grad()
    def __call__(self, model: nn.Module, tasks: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Evaluate a model on some tasks, and leave it in evaluation mode.

        Args:
            model: Network that returns logits.
            tasks: Tasks to evaluate, counted from 0.

        Returns:
            Accuracy as a fraction and cross-entropy in nats, each of shape (K,); NaN for the other
            tasks.
        """
        model.eval()
        examples = self._examples_of(tuple(tasks))
        logits = self._logits(model, examples)
        correct = (logits.argmax(dim=1) == examples.labels).float()
        losses = F.cross_entropy(logits, examples.labels, reduction="none")
        scores = torch.stack((correct, losses))
        means = scores.new_full((2, self.tasks), torch.nan)
        parts = torch.split(scores, examples.sizes, dim=1)
        for task, scores_of_task in zip(tasks, parts, strict=True):
            means[:, task] = scores_of_task.mean(dim=1)
        accuracy, loss = means
        return accuracy, loss

    def _logits(self, model: nn.Module, examples: _Examples) -> Tensor:
        """Return the logits of all examples, shape (N, C), float32."""
        if examples.rounded is None:
            return _in_chunks(model, examples.inputs)
        with torch.autocast(examples.rounded.device.type, torch.bfloat16):
            logits = _in_chunks(model, examples.rounded).float()
        if self.precision == "mixed":
            largest = logits.topk(2, dim=1).values
            margin = largest[:, 0] - largest[:, 1]
            scale = logits.abs().amax(dim=1)
            # Negated so that NaN logits count as close.
            close = ~(margin > _ROUNDING * torch.maximum(scale, scale.mean()))
            if close.any():
                logits[close] = _in_chunks(model, examples.inputs[close])
        return logits

    def _examples_of(self, tasks: tuple[int, ...]) -> _Examples:
        """Return the examples of some tasks; the last selection that needs a copy is cached."""
        if tasks == tuple(range(len(tasks))):  # a prefix needs no copy
            if tasks not in self._prefixes:
                end = self._split.seen(len(tasks))
                self._prefixes[tasks] = self._select(tasks, [slice(0, end)])
            return self._prefixes[tasks]
        if self._copied is None or self._copied[0] != tasks:
            ends = [self._split.seen(task + 1) for task in tasks]
            parts = [
                slice(end - self._split.sizes[task], end)
                for task, end in zip(tasks, ends, strict=True)
            ]
            self._copied = tasks, self._select(tasks, parts)
        return self._copied[1]

    def _select(self, tasks: tuple[int, ...], parts: Sequence[slice]) -> _Examples:
        def select(values: Tensor) -> Tensor:
            return values[parts[0]] if len(parts) == 1 else torch.cat([values[p] for p in parts])

        return _Examples(
            select(self._split.inputs),
            None if self._rounded is None else select(self._rounded),
            select(self._split.labels),
            [self._split.sizes[task] for task in tasks],
        )


def _in_chunks(model: nn.Module, inputs: Tensor) -> Tensor:
    if len(inputs) <= _CHUNK:
        logits: Tensor = model(inputs)
        return logits
    return torch.cat([model(part) for part in torch.split(inputs, _CHUNK)])
