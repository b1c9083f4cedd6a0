"""Adaptive evaluation: curves of old tasks, with their minima, for a fifth of the evaluations.

From one iteration to the next few predictions change, and those that do are of examples about which
the model was undecided. So most examples need not be evaluated again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ngm_tune.metrics.curves import Ints
from ngm_tune.metrics.functional import RECOVERY_MARGIN
from ngm_tune.training.evaluation import Evaluation, Evaluator

TYPICAL_SHARE = 0.22
"""Share of the examples that is evaluated, by docs/evaluation.md."""

_SAMPLE_SHARE = 32
_SAMPLE_LEAST = 12
"""A sample is one of 32 examples of a task, but at least twelve."""
_ERRORS = 2.5
"""Number of standard errors within which two accuracies may be equal."""
_MOVEMENT = 2.0
"""No margin of a task moves by more than this multiple of the largest movement in the sample."""
_AT_RISK = 0.5
"""If a larger share of the examples is at risk, all of them are evaluated."""
_RENEWAL = 2
"""A reference is renewed when this many times the task has been evaluated since."""
_CURRENT_INTERVAL = 20
"""Number of evaluations from one of the current task to the next."""


class AdaptiveEvaluation:
    """Evaluates old tasks while one task is trained.

    The reference of an old task is its last full evaluation. After an iteration, a random sample of
    its examples is evaluated. The accuracy is estimated as that of the reference plus the mean
    change in the sample, with a standard error. An example is at risk if its margin, the logit of
    its label minus the largest other logit, is in the reference at most twice as large as the
    largest movement of a margin in the sample. All others are taken to keep their predictions.

    1. If at most half of the examples are at risk, these are evaluated.
    2. Otherwise the estimate stands, unless the accuracy could matter: within 2.5 standard errors,
       it could be the lowest so far, or show that the task has recovered. Then all examples are
       evaluated.
    3. All examples are also evaluated to verify an accuracy below the lowest so far, and to renew a
       reference since which twice as many examples were evaluated.

    If all old tasks are evaluated, those at risk are also evaluated where the mean accuracy of all
    could be the lowest so far. So stability gaps, minimum accuracies and the recovery times of
    single tasks are those of full evaluation, unless samples miss a movement; docs/evaluation.md
    has the measured differences. Runs with different seeds draw the same samples. Every 20th
    evaluation includes all examples of the current task, if it is among the evaluated ones.

    Args:
        evaluator: Evaluates models on the tasks.
        model: The model when the training of the task begins.
        task: The current task, counted from 0.
        tasks: Tasks that are evaluated.
        before: Accuracy of each task when the training of the task begins, shape (K,).
    """

    def __init__(
        self,
        evaluator: Evaluator,
        model: nn.Module,
        task: int,
        tasks: Collection[int],
        before: Tensor,
    ) -> None:
        self._evaluator = evaluator
        self._evaluations = 0
        self._lowest_mean = np.inf
        self._current = [task] if task in tasks else []
        old = [each for each in tasks if each < task]
        self._is_mean_evaluated = 1 < len(old) == task
        generator = np.random.default_rng(task)
        self._old = [
            _OldTask(each, generator.permutation(evaluator.rows(each)), float(before[each]))
            for each in old
        ]
        self._evaluate(model, {each: each.everything() for each in self._old})

    def __call__(self, model: nn.Module) -> Evaluation:
        """Evaluate a model after an iteration, and leave it in evaluation mode."""
        old = self._old
        for each in old:
            each.begin_evaluation()
        self._evaluate(model, {each: each.draw() for each in old})
        self._complete(model, [each for each in old if each.is_worthwhile])
        if self._is_mean_evaluated and self._mean_could_be_lowest():
            self._complete(model, old)
        for each in old:
            each.end_evaluation()
        if self._is_mean_evaluated and all(each.is_known for each in old):
            self._lowest_mean = min(self._lowest_mean, _mean(each.accuracy for each in old))
        if self._current and self._evaluations % _CURRENT_INTERVAL == 0:
            result = self._evaluator(model, self._current)
        else:
            result = Evaluation.of_none(self._evaluator.tasks, self._evaluator.device)
        self._evaluations += 1
        for each in old:
            result.accuracy[each.number] = min(1.0, max(0.0, each.accuracy))
            result.loss[each.number] = max(0.0, each.loss) if each.loss == each.loss else each.loss
            result.examples[each.number] = each.evaluated
        return result

    def _complete(self, model: nn.Module, tasks: Sequence[_OldTask]) -> None:
        """Make the accuracies of some tasks known, and verify those below the lowest so far."""
        self._evaluate(model, {each: each.at_risk() for each in tasks})
        self._evaluate(model, {each: each.everything() for each in tasks if each.is_lowest})

    def _mean_could_be_lowest(self) -> bool:
        accuracy = _mean(each.accuracy for each in self._old)
        error = np.sqrt(sum(each.error**2 for each in self._old)) / len(self._old)
        return not accuracy - self._lowest_mean > _ERRORS * error

    def _evaluate(self, model: nn.Module, examples: dict[_OldTask, Ints]) -> None:
        """Evaluate some examples of each task in one forward pass."""
        rows = [task.rows[chosen] for task, chosen in examples.items()]
        scores = np.empty((3, 0), np.float32)
        if any(map(len, rows)):
            scored = self._evaluator.score(model, torch.from_numpy(np.concatenate(rows)))
            scores = torch.stack([values.float() for values in scored]).cpu().numpy()
        start = 0
        for task, chosen in examples.items():
            task.update(chosen, scores[:, start : start + len(chosen)])
            start += len(chosen)


class _OldTask:
    """What is known of the accuracy on an old task.

    Scores have shape (3, N) for N examples: whether the prediction is right, loss and margin.

    Args:
        number: The task, counted from 0.
        rows: Numbers of its examples, shape (N,), shuffled.
        before: Accuracy when the training of the current task begins.
    """

    accuracy: float
    loss: float
    """Mean cross-entropy, estimated from the sample unless all examples were evaluated."""
    error: float
    """Standard error of the accuracy; 0 if it is known."""

    def __init__(self, number: int, rows: Ints, before: float) -> None:
        self.number = number
        self.rows = rows
        self._recovered_at = before - RECOVERY_MARGIN
        self._lowest = np.inf
        self._is_recovered = False
        self._sample = min(len(rows), max(_SAMPLE_LEAST, len(rows) // _SAMPLE_SHARE))
        self._drawn = 0
        self._spent = 0
        self._reference = self._latest = np.full((3, len(rows)), np.nan, np.float32)
        self._fresh = np.zeros(len(rows), np.bool_)
        self._is_at_risk: NDArray[np.bool_] | None = None

    @property
    def evaluated(self) -> int:
        """Number of examples that were evaluated after this iteration."""
        return int(self._fresh.sum())

    @property
    def is_known(self) -> bool:
        """Whether the accuracy is known, not estimated from a sample."""
        return self.error == 0.0

    @property
    def is_worthwhile(self) -> bool:
        """Whether to evaluate more than the sample: it is cheap, it is due, or it could matter."""
        tolerance = _ERRORS * self.error
        could_be_lowest = not self.accuracy - self._lowest > tolerance
        could_recover = not self._is_recovered and self.accuracy + tolerance >= self._recovered_at
        return self._is_cheap or self._is_due or could_be_lowest or could_recover

    @property
    def _is_cheap(self) -> bool:
        return self._is_at_risk is not None and bool(self._is_at_risk.mean() <= _AT_RISK)

    @property
    def _is_due(self) -> bool:
        return self._spent >= _RENEWAL * len(self.rows)

    @property
    def is_lowest(self) -> bool:
        """Whether the accuracy is known and the lowest so far."""
        return self.is_known and self.accuracy < self._lowest

    def begin_evaluation(self) -> None:
        """Forget the scores of the last iteration."""
        self._fresh[:] = False
        self._is_at_risk = None

    def draw(self) -> Ints:
        """Draw the next examples, in turn."""
        chosen = np.arange(self._drawn, self._drawn + self._sample) % len(self.rows)
        self._drawn += self._sample
        return chosen

    def at_risk(self) -> Ints:
        """Return the examples at risk that are still to be evaluated; all, if these are many."""
        if self._is_at_risk is None or self._is_due or not self._is_cheap:
            return self.everything()
        return np.flatnonzero(self._is_at_risk & ~self._fresh)

    def everything(self) -> Ints:
        """Return all examples that are still to be evaluated."""
        return np.flatnonzero(~self._fresh)

    def update(self, chosen: Ints, scores: NDArray[np.float32]) -> None:
        """Take scores of some examples: first those of the sample, then others."""
        self._latest[:, chosen] = scores
        self._fresh[chosen] = True
        self._spent += len(chosen)
        if self._fresh.all():
            self._reference = self._latest.copy()
            self._spent = 0
            self.accuracy, self.loss = (float(values.mean()) for values in self._latest[:2])
            self.error = 0.0
        elif self._is_at_risk is None:
            self._estimate(chosen)
        else:
            right = np.where(self._fresh, self._latest[0], self._reference[0])
            self.accuracy, self.error = float(right.mean()), 0.0

    def _estimate(self, sample: Ints) -> None:
        """Estimate accuracy and loss from a sample, and find the examples at risk."""
        changes = self._latest[:, sample] - self._reference[:, sample]
        n, share = len(sample), len(sample) / len(self.rows)
        accuracy, loss = self._reference[:2].mean(axis=1) + changes[:2].mean(axis=1)
        self.accuracy, self.loss = float(accuracy), float(loss)
        # One change more than observed: a sample without any does not show that there was none.
        variance = (float(changes[0].var()) + 1 / n) / n
        self.error = float(np.sqrt(variance * (1.0 - share)))
        # Negated so that NaN margins are at risk.
        bound = _MOVEMENT * np.abs(changes[2]).max()
        self._is_at_risk = ~(np.abs(self._reference[2]) > bound)

    def end_evaluation(self) -> None:
        """Note whether the accuracy is the lowest so far, and whether the task has recovered."""
        if not self.is_known:
            return
        if self.accuracy < self._lowest:
            self._lowest = self.accuracy
            self._is_recovered = False
        self._is_recovered |= self.accuracy >= self._recovered_at


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))
