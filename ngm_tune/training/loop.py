"""Training on a sequence of tasks with continual evaluation: the protocol of arXiv 2507.14056.

While task k is trained, every batch is drawn from the training data of all tasks seen so far, so
nothing is forgotten for lack of data (:mod:`ngm_tune.training.streams` has two more strategies);
accuracy on the tasks seen so far is measured every few iterations, so that the stability gap
becomes visible.

A seed fixes the initial weights and every batch, whatever the method: runs of different methods
with the same seed are paired.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ngm_tune.benchmarks.tasks import TaskSplit
from ngm_tune.learners import Batch, Learner
from ngm_tune.metrics.curves import AccuracyCurves
from ngm_tune.optim.gain import predictive_entropy
from ngm_tune.training.evaluation import Evaluator
from ngm_tune.training.options import EvalTasks, Strategy
from ngm_tune.training.seeding import derive_seed, seeded
from ngm_tune.training.streams import Stream

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
        probed: What a probe found: iteration, name and value.
        seconds: Wall time.
        diverged_at: The iteration whose loss was not finite, or after which the task ended with
            one that is not, the last one recorded; None if all went well.
    """

    first_iteration: int
    steps: Tensor
    evaluated: Tensor
    accuracy: Tensor
    loss: Tensor
    probed: list[tuple[int, str, float]]
    seconds: float
    diverged_at: int | None


class Probe(Protocol):
    """Looks at a run while it trains."""

    def begin_task(self, learner: Learner) -> None:
        """Called before the first batch of a task."""

    def __call__(self, learner: Learner, task: int, iteration: int) -> dict[str, float]:
        """What there is to be seen after an iteration of a task, counted from 1, by name."""


class ContinualTraining:
    """One run of one method through a sequence of tasks.

    Args:
        train: Training examples.
        evaluator: Measures accuracy on the same tasks.
        build_model: Makes a network, its initial weights drawn from torch's global random state.
        build_method: Makes the optimizer of that network, or a :class:`~ngm_tune.learners.Learner`.
        seed: Fixes initial weights and batches.
        batch_size: Examples per batch.
        iterations_per_task: Training iterations on each task.
        strategy: What batches are drawn from.
        buffer_size: Examples kept for replay, for the strategy ``"replay"``.
        eval_every: Iterations between evaluations; the last iteration of a task is always
            evaluated.
        eval_dense: Iterations after each transition that are all evaluated.
        eval_tasks: Which tasks are evaluated during training.
        prepare: Turns stored training examples into what the network takes, such as pixels into
            normalised float32, batch by batch.
        augment: Changes stored training examples at random before they are prepared.
        probe: Looks at the run after an iteration; what it finds, by name, is recorded.
        device: Where to train.

    Raises:
        ValueError: Training and evaluation have different numbers of tasks, or the optimizer was
            built of other parameters than the model's.

    Example:
        >>> import torch
        >>> from ngm_tune import NGMSGD
        >>> from ngm_tune.benchmarks import get_benchmark
        >>> from ngm_tune.training.evaluation import Evaluator
        >>> digits = get_benchmark("split-digits")
        >>> data = digits.load()
        >>> run = ContinualTraining(
        ...     data.train, Evaluator(data.test), digits.build_model, NGMSGD,
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
        evaluator: Evaluator,
        build_model: Callable[[], nn.Module],
        build_method: Callable[[nn.Module], Optimizer | Learner],
        *,
        seed: int,
        batch_size: int,
        iterations_per_task: int,
        strategy: Strategy = "joint",
        buffer_size: int | None = None,
        eval_every: int = 1,
        eval_dense: int = 0,
        eval_tasks: EvalTasks = "seen",
        prepare: Callable[[Tensor], Tensor] = lambda inputs: inputs,
        augment: Callable[[Tensor, torch.Generator], Tensor] | None = None,
        probe: Probe | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        if len(train.sizes) != evaluator.tasks:
            raise ValueError(f"train has {len(train.sizes)} tasks and evaluation {evaluator.tasks}")
        self.seed = seed
        self.iterations_per_task = iterations_per_task
        self.eval_every = eval_every
        self.eval_dense = eval_dense
        self.device = torch.device(device)
        self.train = train.to(device)
        self.records: list[TaskRecord] = []
        self._prepare = prepare
        self._augment = augment
        self._augmentation = torch.Generator(device)
        self._evaluator = evaluator
        self._eval_tasks = eval_tasks
        self._probe = probe
        self._stream = Stream(
            train.sizes,
            strategy,
            batch_size=batch_size,
            iterations=iterations_per_task,
            seed=seed,
            buffer_size=buffer_size,
        )
        sizes = torch.tensor(train.sizes, device=device)
        self._task_of = torch.arange(self.tasks, device=device).repeat_interleave(sizes)
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
        """The iteration at which the loss was no longer finite, if there was one."""
        return self.records[-1].diverged_at if self.records else None

    @property
    def finished(self) -> bool:
        """Whether all tasks are trained, or the run diverged."""
        return len(self.records) == self.tasks or self.diverged_at is not None

    @property
    def has_gain(self) -> bool:
        """Whether the method has a gain to record."""
        return self.learner.gain is not None

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
        batches = self._stream.batches(task).to(self.device)
        self._augmentation.manual_seed(derive_seed(self.seed, "augmentation", task))
        steps = torch.full((len(batches), 3), torch.nan, device=self.device)
        evaluations: list[tuple[int, Tensor, Tensor]] = []
        probed: list[tuple[int, str, float]] = []
        diverged_at = None

        with seeded(derive_seed(self.seed, "training", task)):
            self.learner.begin_task(task)
            if self._probe is not None:
                self._probe.begin_task(self.learner)
            for i, batch in enumerate(batches):
                steps[i] = self._train_step(batch)
                last = i == len(batches) - 1
                if last or i % _DIVERGENCE_CHECK == 0:
                    bad = (~steps[: i + 1, 0].isfinite()).nonzero()
                    if len(bad):
                        diverged_at = first + int(bad[0])
                        break
                if tasks := self._tasks_to_evaluate(task, i):
                    accuracy, loss = self._evaluator(self.learner.evaluated, tasks)
                    if last and not loss[: task + 1].isfinite().all():
                        diverged_at = first + i  # the last step itself broke the weights
                        break
                    evaluations.append((first + i, accuracy, loss))
                if self._probe is not None:
                    found = self._probe(self.learner, task, i + 1)
                    probed += [(first + i, name, value) for name, value in found.items()]
            else:
                self.learner.end_task(task, lambda count: self._draw(batches, count))

        if diverged_at is not None:  # which may have been noticed some iterations later
            steps = steps[: diverged_at - first + 1]
            evaluations = [done for done in evaluations if done[0] < diverged_at]
            probed = [finding for finding in probed if finding[0] < diverged_at]
        record = TaskRecord(
            first_iteration=first,
            steps=steps.cpu(),
            evaluated=torch.tensor([done[0] for done in evaluations], dtype=torch.int64),
            accuracy=self._by_task([done[1] for done in evaluations]),
            loss=self._by_task([done[2] for done in evaluations]),
            probed=probed,
            seconds=time.perf_counter() - started,
            diverged_at=diverged_at,
        )
        self.records.append(record)
        return record

    def _tasks_to_evaluate(self, task: int, i: int) -> Sequence[int]:
        """Which tasks to evaluate after iteration i of a task, both counted from 0; often none."""
        if i == self.iterations_per_task - 1:
            return range(task + 1)
        dense = task > 0 and i < self.eval_dense
        if not dense and (i + 1) % self.eval_every:
            return ()
        return range(task + 1) if self._eval_tasks == "seen" else sorted({0, max(0, task - 1)})

    def _by_task(self, evaluations: list[Tensor]) -> Tensor:
        """A row per evaluation and a column per task, shape (E, K), on the CPU."""
        return torch.stack(evaluations).cpu() if evaluations else torch.empty(0, self.tasks)

    def _train_step(self, batch: Tensor) -> Tensor:
        """One step of the method; the batch's loss, entropy and gain, before the step."""
        self.learner.model.train()
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
        inputs = self.train.inputs.index_select(0, batch)  # copies rows; inputs[batch] pixels
        if augment is not None:
            inputs = augment(inputs, self._augmentation)
        return Batch(self._prepare(inputs), self.train.labels[batch], self._task_of[batch])

    def _draw(self, batches: Tensor, count: int) -> Batch:
        """Examples that the task was trained on, as they are, each as often as it was drawn."""
        drawn = batches.flatten()
        chosen = torch.randint(len(drawn), (count,)).to(self.device)
        return self._examples(drawn[chosen])

    def curves(self, tasks: int | None = None) -> AccuracyCurves:
        """Accuracy over the run, or over its first tasks, as if there were no more.

        Args:
            tasks: How many; by default all.

        Raises:
            RuntimeError: The run did not get through so many tasks: a part of a run has no metrics.
        """
        tasks = self.tasks if tasks is None else tasks
        records = self.records[:tasks]
        if len(records) < tasks or records[-1].diverged_at is not None:
            raise RuntimeError(
                f"the run did not get through {tasks} tasks, so it has no accuracy curves of them"
            )
        ends = [(k + 1) * self.iterations_per_task for k in range(tasks)]
        evaluated = torch.cat([record.evaluated for record in records])
        accuracy = torch.cat([record.accuracy for record in records])[:, :tasks]
        return AccuracyCurves(evaluated.numpy(), accuracy.numpy(), ends)

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on after the last finished task; tensors and plain values."""
        return {
            "learner": self.learner.state_dict(),
            "records": [vars(record) for record in self.records],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where :meth:`state_dict` was taken, bit for bit as if never interrupted."""
        self.learner.load_state_dict(deepcopy(state["learner"]))  # which may take over tensors
        # Records are kept where they do not take up a device's memory.
        on_cpu = [
            {name: value.cpu() if isinstance(value, Tensor) else value for name, value in r.items()}
            for r in state["records"]
        ]
        self.records = [TaskRecord(**record) for record in on_cpu]  # type: ignore[arg-type]


def _has_parameters_of(optimizer: Optimizer, model: nn.Module) -> bool:
    own = {id(parameter) for parameter in model.parameters()}
    groups = getattr(optimizer, "param_groups", [])  # a wrapper of another one may have none
    return not groups or any(id(p) in own for group in groups for p in group["params"])
