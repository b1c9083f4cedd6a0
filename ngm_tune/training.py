"""Joint training with continual evaluation: the protocol of arXiv 2507.14056, section 3.

While task k is trained, every batch is drawn uniformly and with replacement from the training
data of all tasks seen so far, so nothing is forgotten for lack of data; accuracy on every task
seen so far is measured every few iterations, so that the stability gap becomes visible.

A seed fixes the initial weights and every batch, whatever the optimizer: runs of different methods
with the same seed are paired.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

from ngm_tune.benchmarks.tasks import TaskSplit
from ngm_tune.metrics import AccuracyCurves
from ngm_tune.optim.gain import predictive_entropy

Evaluated = Literal["seen", "first-and-previous"]
"""Which tasks are evaluated while one is trained: all seen so far, or the first and the one before,
which is enough for their stability gaps and cheaper. At a task's end all are."""

_EVALUATION_BATCH = 4096
"""Examples per forward pass of an evaluation."""

_DIVERGENCE_CHECK = 20
"""Iterations between looks at the loss, each of which waits for the device."""


@dataclass(frozen=True)
class TaskRecord:
    """What the training of one task left behind, I iterations long, evaluated E times.

    Attributes:
        first_iteration: Number of its first iteration, counted from 1 over the run.
        steps: Train loss, entropy in nats and gain of every iteration, shape (I, 3); the gain is
            NaN for an optimizer that has none.
        evaluated: Iterations after which the seen tasks were evaluated, shape (E,).
        accuracy: Accuracy per task, shape (E, K); NaN for tasks not seen yet.
        loss: Cross-entropy per task in nats, shape (E, K); NaN likewise.
        seconds: Wall time.
        diverged_at: The iteration whose loss was not finite, or after which the task ended with
            one that is not, the last one recorded; None if all went well.
    """

    first_iteration: int
    steps: Tensor
    evaluated: Tensor
    accuracy: Tensor
    loss: Tensor
    seconds: float
    diverged_at: int | None


class _EvaluationSet(NamedTuple):
    """Examples of some tasks, N in all, with what is needed to count per task."""

    inputs: Tensor
    labels: Tensor
    membership: Tensor
    """One-hot task of each example, shape (N, K)."""
    sizes: Tensor
    """Examples per task, shape (K,); NaN for tasks that are not among them."""


class JointTraining:
    """One run of one optimizer through a sequence of tasks.

    Args:
        train: Training examples.
        evaluation: Examples on which accuracy is measured, cut into the same tasks, as the network
            takes them: already prepared.
        build_model: Makes a network, its initial weights drawn from torch's global random state.
        build_optimizer: Makes the optimizer of that network. One with a ``gain`` attribute (a
            scalar tensor) has it recorded.
        seed: Fixes initial weights and batches.
        batch_size: Examples per batch.
        iterations_per_task: Training iterations on each task.
        eval_every: Iterations between evaluations; the last iteration of a task is always
            evaluated.
        evaluated: Which tasks.
        prepare: Turns stored training examples into what the network takes, such as pixels into
            normalised float32, batch by batch.
        augment: Changes stored training examples at random before they are prepared.
        device: Where to train.

    Example:
        >>> import torch
        >>> from ngm_tune import NGMSGD
        >>> from ngm_tune.benchmarks import get_benchmark
        >>> digits = get_benchmark("split-digits")
        >>> data = digits.load()
        >>> run = JointTraining(
        ...     data.train, data.test, digits.build_model, NGMSGD,
        ...     seed=0, batch_size=32, iterations_per_task=50,
        ... )
        >>> while not run.finished:
        ...     record = run.train_task()
        >>> run.curves().tasks
        5
    """

    def __init__(
        self,
        train: TaskSplit,
        evaluation: TaskSplit,
        build_model: Callable[[], nn.Module],
        build_optimizer: Callable[[nn.Module], Optimizer],
        *,
        seed: int,
        batch_size: int,
        iterations_per_task: int,
        eval_every: int = 1,
        evaluated: Evaluated = "seen",
        prepare: Callable[[Tensor], Tensor] = lambda inputs: inputs,
        augment: Callable[[Tensor, torch.Generator], Tensor] | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        if len(train.sizes) != len(evaluation.sizes):
            raise ValueError(
                f"train has {len(train.sizes)} tasks and evaluation {len(evaluation.sizes)}"
            )
        self.seed = seed
        self.batch_size = batch_size
        self.iterations_per_task = iterations_per_task
        self.eval_every = eval_every
        self.device = torch.device(device)
        self.prepare = prepare
        self.augment = augment
        self._augmentation = torch.Generator(device)
        self.train = train.to(device)
        self.evaluation = evaluation.to(device)
        self._evaluated = evaluated
        self._eval_sizes = torch.tensor(evaluation.sizes, device=device)
        task_of = torch.arange(self.tasks, device=device).repeat_interleave(self._eval_sizes)
        self._membership = F.one_hot(task_of, self.tasks).float()
        with torch.random.fork_rng():
            torch.manual_seed(_derive(seed, "weights"))
            self.model = build_model().to(device)
        self.optimizer = build_optimizer(self.model)
        self.records: list[TaskRecord] = []

    @property
    def tasks(self) -> int:
        """K, the number of tasks."""
        return len(self.train.sizes)

    @property
    def diverged_at(self) -> int | None:
        """The iteration at which the loss was no longer finite, if there was one."""
        return self.records[-1].diverged_at if self.records else None

    @property
    def finished(self) -> bool:
        """Whether all tasks are trained, or the run diverged."""
        return len(self.records) == self.tasks or self.diverged_at is not None

    @property
    def has_gain(self) -> bool:
        """Whether the optimizer has a gain to record."""
        return hasattr(self.optimizer, "gain")

    def train_task(self) -> TaskRecord:
        """Train the next task and record it.

        Raises:
            RuntimeError: The run is finished.
        """
        if self.finished:
            raise RuntimeError("the run is finished: no task is left to train")
        started = time.perf_counter()
        task = len(self.records)
        first = task * self.iterations_per_task + 1
        batches = self._draw_batches(task)
        self._augmentation.manual_seed(_derive(self.seed, "augmentation", task))
        steps = torch.full((len(batches), 3), torch.nan, device=self.device)
        evaluated, accuracies, losses = [], [], []
        diverged_at = None
        everything = self._eval_set(range(task + 1))
        looked_at = everything
        if self._evaluated == "first-and-previous" and task > 0:
            looked_at = self._eval_set(sorted({0, task - 1}))

        with torch.random.fork_rng():
            torch.manual_seed(_derive(self.seed, "training", task))
            for i, batch in enumerate(batches):
                steps[i] = self._train_step(batch)
                last = i == len(batches) - 1
                if last or i % _DIVERGENCE_CHECK == 0:
                    bad = (~steps[: i + 1, 0].isfinite()).nonzero()
                    if len(bad):
                        diverged_at = first + int(bad[0])
                        break
                if last or (i + 1) % self.eval_every == 0:
                    accuracy, loss = self._evaluate(everything if last else looked_at)
                    if last and not loss[: task + 1].isfinite().all():
                        diverged_at = first + i  # the last step itself broke the weights
                        break
                    evaluated.append(first + i)
                    accuracies.append(accuracy)
                    losses.append(loss)

        if diverged_at is not None:
            steps = steps[: diverged_at - first + 1]
            evaluated = [iteration for iteration in evaluated if iteration < diverged_at]
        kept = len(evaluated)
        none = torch.empty(0, self.tasks, device=self.device)
        record = TaskRecord(
            first_iteration=first,
            steps=steps.cpu(),
            evaluated=torch.tensor(evaluated, dtype=torch.int64),
            accuracy=(torch.stack(accuracies[:kept]) if kept else none).cpu(),
            loss=(torch.stack(losses[:kept]) if kept else none).cpu(),
            seconds=time.perf_counter() - started,
            diverged_at=diverged_at,
        )
        self.records.append(record)
        return record

    def _draw_batches(self, task: int) -> Tensor:
        """Indices of the task's training batches, shape (iterations, batch), on the device."""
        generator = torch.Generator().manual_seed(_derive(self.seed, "batches", task))
        shape = (self.iterations_per_task, self.batch_size)
        seen = self.train.seen(task + 1)
        return torch.randint(seen, shape, generator=generator).to(self.device)

    def _train_step(self, batch: Tensor) -> Tensor:
        """One optimizer step; the batch's loss, entropy and gain, before the step."""
        self.model.train()
        inputs = self.train.inputs[batch]
        if self.augment is not None:
            inputs = self.augment(inputs, self._augmentation)
        logits = self.model(self.prepare(inputs))
        loss = F.cross_entropy(logits, self.train.labels[batch])
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        entropy = predictive_entropy(logits.detach()).mean()
        gain = getattr(self.optimizer, "gain", torch.full_like(entropy, torch.nan))
        return torch.stack((loss.detach(), entropy, gain))

    def _eval_set(self, tasks: Sequence[int]) -> _EvaluationSet:
        """The evaluation examples of some tasks, in order."""
        ends = [self.evaluation.seen(task + 1) for task in tasks]
        parts = [
            slice(end - self.evaluation.sizes[task], end)
            for task, end in zip(tasks, ends, strict=True)
        ]
        if list(tasks) == list(range(len(parts))):  # a prefix needs no copy
            parts = [slice(0, ends[-1])]

        def chosen(values: Tensor) -> Tensor:
            return values[parts[0]] if len(parts) == 1 else torch.cat([values[p] for p in parts])

        sizes = torch.full_like(self._eval_sizes, torch.nan, dtype=torch.float32)
        sizes[list(tasks)] = self._eval_sizes[list(tasks)].float()
        return _EvaluationSet(
            chosen(self.evaluation.inputs),
            chosen(self.evaluation.labels),
            chosen(self._membership),
            sizes,
        )

    @torch.no_grad()
    def _evaluate(self, examples: _EvaluationSet) -> tuple[Tensor, Tensor]:
        """Accuracy and loss on every task of a set, NaN on others; each of shape (K,)."""
        self.model.eval()
        totals = torch.zeros(2, self.tasks, device=self.device)
        for start in range(0, len(examples.labels), _EVALUATION_BATCH):
            part = slice(start, start + _EVALUATION_BATCH)
            labels = examples.labels[part]
            logits = self.model(examples.inputs[part])
            correct = (logits.argmax(dim=1) == labels).float()
            losses = F.cross_entropy(logits, labels, reduction="none")
            totals += torch.stack((correct, losses)) @ examples.membership[part]
        accuracy, loss = totals / examples.sizes
        return accuracy, loss

    def curves(self) -> AccuracyCurves:
        """Accuracy over the whole run.

        Raises:
            RuntimeError: The run is not finished, or it diverged: a part of a run has no metrics.
        """
        if not self.finished or self.diverged_at is not None:
            raise RuntimeError("only a run that went through all its tasks has accuracy curves")
        ends = [(k + 1) * self.iterations_per_task for k in range(self.tasks)]
        evaluated = torch.cat([record.evaluated for record in self.records])
        accuracy = torch.cat([record.accuracy for record in self.records])
        return AccuracyCurves(evaluated.numpy(), accuracy.numpy(), ends)

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on after the last finished task; tensors and plain values."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "records": [vars(record) for record in self.records],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where :meth:`state_dict` was taken, bit for bit as if never interrupted."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.records = [TaskRecord(**record) for record in state["records"]]


def _derive(seed: int, purpose: str, task: int = 0) -> int:
    """An independent 64-bit seed for one purpose and task, so that none depends on another."""
    entropy = (seed, task, *purpose.encode())
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> 1)
