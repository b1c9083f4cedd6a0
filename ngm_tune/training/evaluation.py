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


class Evaluation(NamedTuple):
    """Scores of a model on the K tasks of a benchmark, each of shape (K,)."""

    accuracy: Tensor
    """Accuracy as a fraction; NaN for tasks that were not evaluated."""
    loss: Tensor
    """Cross-entropy in nats; NaN for tasks that were not evaluated."""
    examples: Tensor
    """Number of examples of each task that the model was evaluated on, int64."""

    @classmethod
    def of_none(cls, tasks: int, device: torch.device) -> Evaluation:
        """Return the evaluation of none of the tasks."""
        accuracy, loss = torch.full((2, tasks), torch.nan, device=device)
        return cls(accuracy, loss, torch.zeros(tasks, dtype=torch.int64))


class ExampleScores(NamedTuple):
    """Scores of a model on n examples, each of shape (n,)."""

    correct: Tensor
    """Whether the prediction is right."""
    loss: Tensor
    """Cross-entropy in nats."""
    margin: Tensor
    """Logit of the label minus the largest other logit. Its sign decides the prediction."""


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
        self.device = torch.device(device)
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

    def rows(self, task: int) -> range:
        """Return the numbers of the examples of a task, in the order of the tasks."""
        end = self._split.seen(task + 1)
        return range(end - self.sizes[task], end)

    @torch.no_grad()
    def __call__(self, model: nn.Module, tasks: Sequence[int]) -> Evaluation:
        """Evaluate a model on all examples of some tasks, and leave it in evaluation mode.

        Args:
            model: Network that returns logits.
            tasks: Tasks to evaluate, counted from 0.
        """
        model.eval()
        examples = self._examples_of(tuple(tasks))
        logits = self._logits(model, examples)
        correct = (logits.argmax(dim=1) == examples.labels).float()
        losses = F.cross_entropy(logits, examples.labels, reduction="none")
        result = Evaluation.of_none(self.tasks, logits.device)
        parts = torch.split(torch.stack((correct, losses)), examples.sizes, dim=1)
        for task, scores in zip(tasks, parts, strict=True):
            result.accuracy[task], result.loss[task] = scores.mean(dim=1)
            result.examples[task] = scores.shape[1]
        return result

    @torch.no_grad()
    def score(self, model: nn.Module, rows: Tensor) -> ExampleScores:
        """Score a model on single examples, and leave it in evaluation mode.

        Args:
            model: Network that returns logits.
            rows: Numbers of the examples in the order of the tasks, shape (n,), int64.
        """
        model.eval()
        labels = self._split.labels[rows]
        logits = self._logits(
            model,
            _Examples(
                self._split.inputs[rows],
                None if self._rounded is None else self._rounded[rows],
                labels,
                [len(rows)],
            ),
        )
        of_label = labels.unsqueeze(1)
        others = logits.scatter(1, of_label, -torch.inf).amax(dim=1)
        return ExampleScores(
            correct=logits.argmax(dim=1) == labels,
            loss=F.cross_entropy(logits, labels, reduction="none"),
            margin=logits.gather(1, of_label).squeeze(1) - others,
        )

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
            rows = [self.rows(task) for task in tasks]
            parts = [slice(each.start, each.stop) for each in rows]
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
