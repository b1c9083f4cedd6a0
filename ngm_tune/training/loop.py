"""Training on a sequence of tasks with continual evaluation: the protocol of arXiv 2507.14056.

While task k is trained, every batch is drawn from the training data of all tasks seen so far. Any
forgetting is then not due to missing data. :mod:`ngm_tune.training.streams` has two more
strategies. Frequent evaluation of the tasks seen so far shows the stability gap.

A seed fixes the initial weights and every batch independently of the method. Runs of different
methods with the same seed are therefore paired.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ngm_tune.benchmarks.tasks import TaskSplit
from ngm_tune.learners import Batch, Learner
from ngm_tune.learners.modes import (
    evaluation_weights,
    set_training_mode,
    set_training_weights,
)
from ngm_tune.metrics.curves import AccuracyCurves
from ngm_tune.optim.predictions import predictive_entropy
from ngm_tune.training.adaptive import AdaptiveEvaluation
from ngm_tune.training.evaluation import Evaluation, Evaluator
from ngm_tune.training.options import EVERY_ITERATION, EvaluationSchedule, StreamOptions
from ngm_tune.training.seeding import derive_seed, seeded
from ngm_tune.training.streams import Stream

_DIVERGENCE_CHECK = 20
"""Number of iterations between checks of the loss; each check waits for the device."""


@dataclass(frozen=True)
class TaskRecord:
    """Record of the training of one task: I iterations, E evaluations, K tasks of the sequence.

    Attributes:
        first_iteration: Number of the first iteration, counted from 1 over the run.
        steps: Training loss in nats, predictive entropy in nats and gain of every iteration, shape
            (I, 3). The gain is NaN for a method without one.
        evaluated: Iterations after which tasks were evaluated, shape (E,), int64.
        accuracy: Accuracy per task as a fraction, shape (E, K); NaN for tasks not evaluated.
        loss: Cross-entropy per task in nats, shape (E, K); NaN for tasks not evaluated.
        examples: Number of evaluated examples per task, shape (E, K), int64.
        probed: Measurements of the probe: iteration, name and value.
        seconds: Wall time.
        diverged_at: Iteration at which the run diverged: the first one with a non-finite training
            loss, or the last of the task if the evaluation after it gives a non-finite loss. It is
            the last recorded iteration. None if the run did not diverge.
    """

    first_iteration: int
    steps: Tensor
    evaluated: Tensor
    accuracy: Tensor
    loss: Tensor
    examples: Tensor
    probed: list[tuple[int, str, float]]
    seconds: float
    diverged_at: int | None


class Probe(Protocol):
    """Measures quantities of a run while it trains."""

    def begin_task(self, learner: Learner) -> None:
        """Prepare for a task; called before its first batch."""

    def __call__(self, learner: Learner, task: int, iteration: int) -> dict[str, float]:
        """Return measurements by name after an iteration of a task.

        Args:
            learner: The method and its network.
            task: The current task, counted from 0.
            iteration: The iteration within the task, counted from 1.
        """


class ContinualTraining:
    """Train one method with one seed on a sequence of tasks.

    Args:
        train: Training examples.
        evaluator: Measures accuracy on the same tasks.
        build_model: Returns a network. Its initial weights come from torch's global random state.
        build_method: Returns the optimizer of a network, or a :class:`~ngm_tune.learners.Learner`.
        seed: Fixes the initial weights and every batch.
        iterations_per_task: Number of training iterations on each task.
        stream: How batches are drawn.
        evaluation: When tasks are evaluated, and which.
        prepare: Converts a batch of stored inputs to inputs of the network, such as pixels to
            normalised float32.
        augment: Randomly changes a batch of stored inputs before ``prepare``.
        probe: Measures further quantities after every iteration.
        device: Device to train on.

    Raises:
        ValueError: Training and evaluation have different numbers of tasks, or the optimizer
            has no parameter of the network.

    Example:
        >>> from ngm_tune import NGMSGD
        >>> from ngm_tune.benchmarks import get_benchmark
        >>> from ngm_tune.training.evaluation import Evaluator
        >>> from ngm_tune.training.options import EvaluationSchedule, StreamOptions
        >>> digits = get_benchmark("split-digits")
        >>> data = digits.load()
        >>> run = ContinualTraining(
        ...     data.train,
        ...     Evaluator(data.test),
        ...     digits.build_model,
        ...     NGMSGD,
        ...     seed=0,
        ...     iterations_per_task=50,
        ...     stream=StreamOptions(batch_size=32),
        ...     evaluation=EvaluationSchedule(every=10),
        ... )
        >>> while not run.finished:
        ...     record = run.train_task()
        >>> run.curves().accuracy.shape  # 5 evaluations of each of 5 tasks
        (25, 5)
    """

    def __init__(
        self,
        train: TaskSplit,
        evaluator: Evaluator,
        build_model: Callable[[], nn.Module],
        build_method: Callable[[nn.Module], Optimizer | Learner],
        *,
        seed: int,
        iterations_per_task: int,
        stream: StreamOptions,
        evaluation: EvaluationSchedule = EVERY_ITERATION,
        prepare: Callable[[Tensor], Tensor] = lambda inputs: inputs,
        augment: Callable[[Tensor, torch.Generator], Tensor] | None = None,
        probe: Probe | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        if len(train.sizes) != evaluator.tasks:
            raise ValueError(f"train has {len(train.sizes)} tasks and evaluation {evaluator.tasks}")
        self.seed = seed
        self.iterations_per_task = iterations_per_task
        self.evaluation = evaluation
        self.device = torch.device(device)
        self.train = train.to(device)
        self.records: list[TaskRecord] = []
        self._prepare = prepare
        self._augment = augment
        self._augmentation = torch.Generator(device)
        self._evaluator = evaluator
        self._probe = probe
        self._stream = Stream(train.sizes, stream, iterations=iterations_per_task, seed=seed)
        self._task_of = self.train.task_of_examples()
        with seeded(derive_seed(seed, "weights")):
            model = build_model().to(device)
        with seeded(derive_seed(seed, "method")):
            method = build_method(model)
        if isinstance(method, Optimizer) and not _has_parameters_of(method, model):
            raise ValueError("the optimizer has no parameter of the model: it would train nothing")
        self.learner = method if isinstance(method, Learner) else Learner(model, method)

    @property
    def tasks(self) -> int:
        """K, the number of tasks."""
        return len(self.train.sizes)

    @property
    def diverged_at(self) -> int | None:
        """Iteration at which the run diverged; None if it did not."""
        return self.records[-1].diverged_at if self.records else None

    @property
    def finished(self) -> bool:
        """Whether all tasks have been trained, or the run diverged."""
        return len(self.records) == self.tasks or self.diverged_at is not None

    @property
    def has_gain(self) -> bool:
        """Whether the method has a gain."""
        return self.learner.gain is not None

    def train_task(self) -> TaskRecord:
        """Train the next task, and return its record.

        Raises:
            RuntimeError: The run is finished.
        """
        if self.finished:
            raise RuntimeError("the run is finished: no task is left to train")
        started = time.perf_counter()
        task = len(self.records)
        first = task * self.iterations_per_task + 1
        batches = self._stream.batches(task).to(self.device)
        self._augmentation.manual_seed(derive_seed(self.seed, "augmentation", task))
        steps = torch.full((len(batches), 3), torch.nan, device=self.device)
        evaluations: list[tuple[int, Evaluation]] = []
        probed: list[tuple[int, str, float]] = []
        diverged_at = None

        with seeded(derive_seed(self.seed, "training", task)):
            self.learner.begin_task(task)
            adaptive = self._begin_adaptive_evaluation(task)
            if self._probe is not None:
                with evaluation_weights(self.learner, is_new=task == 0):
                    self._probe.begin_task(self.learner)
            for i, batch in enumerate(batches):
                steps[i] = self._train_step(batch)
                last = i == len(batches) - 1
                if last or i % _DIVERGENCE_CHECK == 0:
                    non_finite = (~steps[: i + 1, 0].isfinite()).nonzero()
                    if len(non_finite):
                        diverged_at = first + int(non_finite[0])
                        break
                if tasks := self.evaluation.tasks_at(task, i, len(batches)):
                    with evaluation_weights(self.learner) as model:
                        if adaptive is None or last:
                            evaluation = self._evaluator(model, tasks)
                        else:
                            evaluation = adaptive(model)
                    if last and not evaluation.loss[: task + 1].isfinite().all():
                        diverged_at = first + i  # the last update caused it
                        break
                    evaluations.append((first + i, evaluation))
                if self._probe is not None:
                    with evaluation_weights(self.learner):
                        measured = self._probe(self.learner, task, i + 1)
                    probed += [(first + i, name, value) for name, value in measured.items()]
            else:
                self.learner.end_task(task, lambda count: self._draw(batches, count))

        if diverged_at is not None:  # drop the iterations after it, before the check
            steps = steps[: diverged_at - first + 1]
            evaluations = [row for row in evaluations if row[0] < diverged_at]
            probed = [row for row in probed if row[0] < diverged_at]
        record = TaskRecord(
            first_iteration=first,
            steps=steps.cpu(),
            evaluated=torch.tensor([row[0] for row in evaluations], dtype=torch.int64),
            accuracy=self._by_task([row[1].accuracy for row in evaluations]),
            loss=self._by_task([row[1].loss for row in evaluations]),
            examples=self._by_task([row[1].examples for row in evaluations]).long(),
            probed=probed,
            seconds=time.perf_counter() - started,
            diverged_at=diverged_at,
        )
        self.records.append(record)
        return record

    def _begin_adaptive_evaluation(self, task: int) -> AdaptiveEvaluation | None:
        if self.evaluation.mode != "adaptive":
            return None
        before = self.records[-1].accuracy[-1] if self.records else torch.empty(0)
        tasks = self.evaluation.tasks_during(task)
        with evaluation_weights(self.learner, is_new=task == 0) as model:
            return AdaptiveEvaluation(self._evaluator, model, task, tasks, before)

    def _by_task(self, evaluations: list[Tensor]) -> Tensor:
        """Stack evaluations to a tensor of shape (E, K) on the CPU."""
        return torch.stack(evaluations).cpu() if evaluations else torch.empty(0, self.tasks)

    def _train_step(self, batch: Tensor) -> Tensor:
        """Take one step on a batch; return loss, entropy and gain before the step, shape (3,)."""
        set_training_mode(self.learner)
        step = self.learner.learn(self._examples(batch, self._augment))
        entropy = predictive_entropy(step.logits).mean()
        gain = self.learner.gain
        return torch.stack(
            (step.loss, entropy, torch.full_like(entropy, torch.nan) if gain is None else gain)
        )

    def _examples(
        self,
        batch: Tensor,
        augment: Callable[[Tensor, torch.Generator], Tensor] | None = None,
    ) -> Batch:
        inputs = self.train.inputs_of(batch)
        if augment is not None:
            inputs = augment(inputs, self._augmentation)
        return Batch(self._prepare(inputs), self.train.labels[batch], self._task_of[batch])

    def _draw(self, batches: Tensor, count: int) -> Batch:
        """Draw ``count`` examples from the batches of a task, without augmentation."""
        trained = batches.flatten()
        chosen = torch.randint(len(trained), (count,)).to(self.device)
        return self._examples(trained[chosen])

    def curves(self, tasks: int | None = None) -> AccuracyCurves:
        """Return the accuracy curves of the run, or of its first tasks as if the run ended there.

        Args:
            tasks: Number of leading tasks; all by default.

        Raises:
            RuntimeError: The run has not completed that many tasks.
        """
        tasks = self.tasks if tasks is None else tasks
        records = self.records[:tasks]
        if len(records) < tasks or records[-1].diverged_at is not None:
            raise RuntimeError(
                f"the run did not complete {tasks} tasks, so it has no accuracy curves of them"
            )
        ends = [(k + 1) * self.iterations_per_task for k in range(tasks)]
        evaluated = torch.cat([record.evaluated for record in records])
        accuracy = torch.cat([record.accuracy for record in records])[:, :tasks]
        return AccuracyCurves(evaluated.numpy(), accuracy.numpy(), ends)

    def state_dict(self) -> dict[str, Any]:
        """Return the state after the last finished task, as tensors and plain values."""
        set_training_weights(self.learner)
        return {
            "learner": self.learner.state_dict(),
            "records": [vars(record) for record in self.records],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load a state of :meth:`state_dict`; training then continues bit for bit."""
        set_training_weights(self.learner)  # otherwise a later train() would change loaded weights
        self.learner.load_state_dict(deepcopy(state["learner"]))  # a learner may keep these tensors
        # On the CPU, since records would fill the memory of a GPU.
        on_cpu = [
            {name: value.cpu() if isinstance(value, Tensor) else value for name, value in r.items()}
            for r in state["records"]
        ]
        self.records = [TaskRecord(**record) for record in on_cpu]  # type: ignore[arg-type]


def _has_parameters_of(optimizer: Optimizer, model: nn.Module) -> bool:
    parameters = {id(parameter) for parameter in model.parameters()}
    groups = getattr(optimizer, "param_groups", [])  # a wrapper of an optimizer may have none
    return not groups or any(id(p) in parameters for group in groups for p in group["params"])
