"""The conformance suite of methods."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.utils import parameters_to_vector
from torch.optim import Optimizer

from ngm_tune.benchmarks import TaskSplit, get_benchmark
from ngm_tune.benchmarks.models import SlimResNet18
from ngm_tune.learners import Batch, Learner
from ngm_tune.learners.modes import has_modes, set_training_mode
from ngm_tune.methods import Config, Method
from ngm_tune.methods.finite_space import draw_points
from ngm_tune.testing.resumption import (
    find_difference_after_resuming,
    finish,
    first_difference,
    train_and_save,
)
from ngm_tune.testing.runs import (
    TASKS,
    build,
    corners,
    digits,
    digits_network,
    middle,
    start_run,
)
from ngm_tune.training.evaluation import Evaluator
from ngm_tune.training.loop import ContinualTraining
from ngm_tune.training.options import EvaluationSchedule, Strategy, StreamOptions
from ngm_tune.training.seeding import seeded

_ROUNDING = 1e-9


class MethodTestCase:
    """Checks that a :class:`~ngm_tune.methods.Method` can be searched, trained and resumed.

    The runs are short: three tasks of Split-Digits on one CPU thread. The suite takes a few seconds
    per method.

    Attributes:
        method: The method under test.
        iterations: Training iterations on each task.
        learning_iterations: Training iterations within which the method must learn two classes.
        random_points: Number of random points of the search space, besides its corners.

    Example:
        >>> from ngm_tune.methods import get_method
        >>> from ngm_tune.testing import MethodTestCase
        >>> class TestSGD(MethodTestCase):
        ...     method = get_method("sgd")
    """

    method: Method
    iterations: int = 12
    learning_iterations: int = 100
    random_points: int = 4

    @pytest.fixture(autouse=True)
    def _one_thread(self) -> Iterator[None]:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        yield
        torch.set_num_threads(threads)

    @property
    def points(self) -> list[Config]:
        """Corners and random points of the search space."""
        return [*corners(self.method), *draw_points(self.method.space, self.random_points)]

    def test_is_described(self) -> None:
        """The method has a title and a source, which tables and reports show."""
        assert self.method.title, "title is empty"
        assert self.method.source, "source is empty: name the paper or the origin of the method"

    def test_builds_everywhere_in_its_space(self) -> None:
        """``build`` returns an optimizer of the model, or a learner, at corners and random points.

        The hyper-parameters have the same names and types at each point.
        """
        for point in self.points:
            settings, domains = self.method.settings_at(point), self.method.domains
            assert set(settings) == set(domains), (
                f"at {point} configure returns {settings}; elsewhere it returns "
                f"{', '.join(domains)}"
            )
            for name, domain in domains.items():
                assert not isinstance(domain, type) or type(settings[name]) is domain, (
                    f"at {point} {name} is {settings[name]!r}; elsewhere it is a {domain}"
                )
            model = digits_network()
            built = build(self.method, point, model)
            assert isinstance(built, Optimizer | Learner), (
                f"at {point} build returns {built!r}; it must return a torch.optim.Optimizer or an "
                "ngm_tune.learners.Learner"
            )
            optimizer = built.optimizer if isinstance(built, Learner) else built
            trained = {id(p) for group in optimizer.param_groups for p in group["params"]}
            assert trained & {id(p) for p in model.parameters()}, (
                f"at {point} the optimizer has no parameter of the model"
            )

    def test_locate_is_the_inverse_of_configure(self) -> None:
        """Search coordinates survive ``configure`` and ``locate``, up to rounding.

        Studies need ``locate`` to start from given hyper-parameters.
        """
        for point in self.points:
            settings = self.method.settings_at(point)
            located = self.method.coordinates_of(settings)
            assert _are_close(located, point), (
                f"configure maps {point} to {settings}, which locate maps to {located}"
            )
            assert _are_close(self.method.settings_at(located), settings), (
                f"configure maps {located} to {self.method.settings_at(located)}, expected "
                f"{settings}"
            )

    def test_runs_at_corners_do_not_raise(self) -> None:
        """A run at a corner of the space ends or diverges; it raises no exception."""
        for point in corners(self.method):
            finish(start_run(self.method, point, iterations=4))

    def test_the_seed_determines_the_run(self) -> None:
        """Runs with the same seed are equal bit for bit and independent of earlier computations.

        Random numbers may come from the global generators of torch, NumPy and Python, which the
        run seeds, or from a generator that the method seeds itself.
        """
        runs = []
        for drawn in (1, 2):
            torch.manual_seed(drawn)
            np.random.seed(drawn)  # noqa: NPY002
            random.seed(drawn)
            run = start_run(self.method, middle(self.method), iterations=self.iterations)
            runs.append(finish(run))
        difference = first_difference(runs[0], runs[1])
        assert not difference, f"two runs with the same seed differ: {difference}"

    @pytest.mark.parametrize("strategy", ["joint", "replay", "naive"])
    def test_a_resumed_run_equals_an_uninterrupted_one(self, strategy: Strategy) -> None:
        """A run that continues from a saved state is equal bit for bit, with every strategy.

        The state is taken after each task but the last and goes through ``torch.save`` and
        ``torch.load(weights_only=True)``, as checkpoints do.
        """

        def start() -> ContinualTraining:
            return start_run(
                self.method, middle(self.method), iterations=self.iterations, strategy=strategy
            )

        uninterrupted = start()
        states = train_and_save(uninterrupted)
        assert uninterrupted.diverged_at is None, (
            "the run in the middle of the space diverges at iteration "
            f"{uninterrupted.diverged_at}; search a smaller space"
        )
        for task, state in enumerate(states):
            try:
                difference = find_difference_after_resuming(uninterrupted, state, start())
            except ValueError as error:
                pytest.fail(
                    "state_dict does not survive torch.load(weights_only=True); keep tensors, "
                    f"numbers, strings, lists and dicts in it: {error.__cause__ or error}"
                )
            assert not difference, (
                f"a run resumed after task {task} differs from an uninterrupted one: {difference}; "
                "state_dict and load_state_dict must cover everything that training changes"
            )

    def test_evaluation_does_not_change_training(self) -> None:
        """Training is equal bit for bit whether the model is evaluated often or rarely."""
        often, rarely = (
            start_run(
                self.method, middle(self.method), iterations=self.iterations, eval_every=eval_every
            )
            for eval_every in (1, self.iterations)
        )
        difference = first_difference(finish(often), finish(rarely), ["steps"])
        assert not difference, f"evaluation changes training: {difference}"

    def test_train_undoes_eval(self) -> None:
        """``train()`` of an optimizer undoes ``eval()``, and a second call of either does nothing.

        Runs call them around evaluations: Schedule-Free optimizers are evaluated at other weights
        than they train.
        """
        run = start_run(self.method, middle(self.method), iterations=self.iterations)
        run.train_task()
        optimizer: Any = run.learner.optimizer
        if not has_modes(run.learner):
            pytest.skip("the optimizer has no methods train() and eval()")
        weights = []
        for change in (optimizer.train, optimizer.eval, optimizer.eval, optimizer.train):
            change()
            weights.append(parameters_to_vector(run.learner.model.parameters()).detach().clone())
        trained, evaluated, again, restored = weights
        assert torch.equal(evaluated, again), "a second call of eval() changes the weights"
        assert torch.allclose(trained, restored, rtol=1e-3, atol=1e-5), (
            "train() after eval() does not restore the weights"
        )

    def test_learns_somewhere_in_its_space(self) -> None:
        """At some point of the space the method learns to tell two digits apart.

        A constant prediction has an accuracy of 0.5; the method must reach 0.75 and lower the loss.
        """
        results = []
        for point in [middle(self.method), *draw_points(self.method.space, 8)]:
            run = start_run(self.method, point, iterations=self.learning_iterations)
            record = run.train_task()
            if record.diverged_at is not None:
                results.append(f"{point}: diverged")
                continue
            accuracy, losses = float(record.accuracy[-1, 0]), record.steps[:, 0]
            if accuracy >= 0.75 and losses[-5:].mean() < losses[0]:
                return
            results.append(
                f"{point}: accuracy {accuracy:.3f}, loss {float(losses[-5:].mean()):.3f}"
            )
        pytest.fail(
            f"the method learns nothing in {self.learning_iterations} iterations: "
            f"{'; '.join(results)}"
        )

    def test_trains_a_convolutional_network(self) -> None:
        """The method trains a residual network with batch normalisation on augmented images.

        The method is built with the settings of the CIFAR benchmarks that it accepts.
        """
        cifar = get_benchmark("split-cifar10")
        settings = {k: v for k, v in cifar.settings.items() if self.method.accepts(k)}
        generator = torch.Generator().manual_seed(0)
        pixels = torch.randint(256, (40, 3, 16, 16), dtype=torch.uint8, generator=generator)
        images = TaskSplit(pixels, torch.arange(40) % 4, (20, 20))
        run = ContinualTraining(
            images,
            Evaluator(images.prepared(cifar.prepare)),
            lambda: SlimResNet18(4, width=8, blocks=1),
            lambda model: build(self.method, middle(self.method), model, **settings),
            seed=5,
            iterations_per_task=3,
            stream=StreamOptions(batch_size=4),
            evaluation=EvaluationSchedule(every=3),
            prepare=cifar.prepare,
            augment=cifar.augment,
        )
        finish(run)
        assert run.diverged_at is None, f"the run diverged at iteration {run.diverged_at}"

    def test_task_awareness_is_declared(self) -> None:
        """A method that is not ``task_aware`` trains alike with and without information on tasks.

        The information is the calls of ``begin_task`` and ``end_task``, and the task of each
        example.
        """
        if self.method.task_aware:
            pytest.skip("the method is task-aware")
        informed, uninformed = (
            _train_losses(self.method, middle(self.method), self.iterations, informed=informed)
            for informed in (True, False)
        )
        assert informed == uninformed, (
            "the method uses information on tasks; declare it with task_aware=True"
        )

    def test_can_be_pickled(self) -> None:
        """The method survives Ray's cloudpickle, which sends objects to workers."""
        from ray import cloudpickle

        copy: Method = cloudpickle.loads(cloudpickle.dumps(self.method))
        assert (copy.name, copy.example) == (self.method.name, self.method.example)


def _are_close(a: Config, b: Config) -> bool:
    """Whether two configurations agree up to rounding."""

    def same(x: Any, y: Any) -> bool:
        if isinstance(x, float) or isinstance(y, float):
            return math.isclose(x, y, rel_tol=_ROUNDING, abs_tol=1e-12)
        return bool(x == y)

    return a.keys() == b.keys() and all(same(a[name], b[name]) for name in a)


def _train_losses(method: Method, point: Config, iterations: int, *, informed: bool) -> list[float]:
    """Train on several tasks with or without task information; return the loss of each step."""
    train = digits().train
    with seeded(0):
        model = digits_network()
        built = build(method, point, model)
    learner = built if isinstance(built, Learner) else Learner(model, built)
    task_of = train.task_of_examples()
    losses = []
    for task in range(TASKS):
        generator = torch.Generator().manual_seed(task)

        def draw(count: int, task: int = task, generator: torch.Generator = generator) -> Batch:
            rows = torch.randint(train.seen(task + 1), (count,), generator=generator)
            tasks = task_of[rows] if informed else torch.zeros_like(rows)
            return Batch(train.inputs_of(rows), train.labels[rows], tasks)

        with seeded(task):
            if informed:
                learner.begin_task(task)
            for _ in range(iterations):
                set_training_mode(learner)
                losses.append(float(learner.learn(draw(16)).loss))
            if informed:
                learner.end_task(task, draw)
    return losses
