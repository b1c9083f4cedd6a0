"""Measurements of the mechanism of NGM-SGD during training (arXiv 2507.14056).

- ``curvature``: the largest eigenvalue of the Hessian of the training loss, with respect to the raw
  weights W and to the effective weights gW. If every layer has the gain g and no bias, then
  ``H_W = g² H_gW``. At constant W, a larger g makes the loss flatter with respect to the effective
  weights and steeper with respect to the raw weights.
- ``fast-and-slow``: the norms of the slow part g_0 W and of the fast part (g - g_0) W of the
  effective weights ``gW = g_0 W + (g - g_0) W``, and the norms of their changes in an iteration
  through the update of W and through the change of g.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call, grad, vjp

from ngm_tune.benchmarks.tasks import TaskSplit
from ngm_tune.learners import Learner
from ngm_tune.optim.gain import NeuronalGain, attached_gains
from ngm_tune.optim.layers import select_layers
from ngm_tune.training.options import ProbeName
from ngm_tune.training.seeding import derive_seed

CURVATURE_EXAMPLES = 256
"""Number of examples in the loss of the Hessian, drawn once per task from the tasks seen so far."""

_EARLY = (1, 2, 5, 10)
"""Iterations of a task after which curvature is always measured."""

_TOLERANCE = 1e-3
"""Relative tolerance of eigenvalues."""

_LANCZOS_VECTORS = 8
"""Size of the Krylov space; sufficient while one eigenvalue dominates, early in each task."""


class Probes:
    """The probes of one run.

    Args:
        names: Quantities to measure.
        train: Training examples.
        prepare: Converts stored inputs to inputs of the network.
        seed: Seed of the run.
        every: Number of iterations between measurements of the curvature.
    """

    def __init__(
        self,
        names: Sequence[ProbeName],
        train: TaskSplit,
        prepare: Callable[[Tensor], Tensor],
        *,
        seed: int,
        every: int,
    ) -> None:
        self._names = names
        self._train = train
        self._prepare = prepare
        self._seed = seed
        self._every = every
        self._before: tuple[Tensor, list[Tensor]] | None = None

    def begin_task(self, learner: Learner) -> None:
        """Record gain and weights before the first iteration of a task."""
        if "fast-and-slow" in self._names:
            self._measure_norms(learner)

    def __call__(self, learner: Learner, task: int, iteration: int) -> dict[str, float]:
        """Return measurements by name after an iteration of a task.

        Args:
            learner: The method and its network.
            task: The current task, counted from 0.
            iteration: The iteration within the task, counted from 1.
        """
        measured: dict[str, float] = {}
        if "fast-and-slow" in self._names:
            measured |= self._measure_norms(learner)
        if "curvature" in self._names and (iteration in _EARLY or iteration % self._every == 0):
            measured |= self._measure_curvature(learner, task)
        return measured

    def _measure_curvature(self, learner: Learner, task: int) -> dict[str, float]:
        generator = torch.Generator().manual_seed(derive_seed(self._seed, "curvature", task))
        seen = self._train.seen(task + 1)
        chosen = torch.randint(seen, (CURVATURE_EXAMPLES,), generator=generator)
        chosen = chosen.to(self._train.labels.device)
        inputs = self._prepare(self._train.inputs_of(chosen))
        labels = self._train.labels[chosen]
        return {
            "sharpness_raw": sharpness(learner.model, inputs, labels),
            "sharpness_effective": effective_sharpness(learner.model, inputs, labels),
        }

    def _measure_norms(self, learner: Learner) -> dict[str, float]:
        modulation = _attached_gain(learner.model)
        layers = modulation.layers if modulation else select_layers(learner.model, "all", None)
        weights = [layer.weight.detach() for layer in layers]
        one = torch.ones((), device=weights[0].device)
        gain = one if modulation is None else modulation.value
        baseline = 1.0 if modulation is None else modulation.baseline
        norm = _norm(weights)
        norms = {
            "slow_norm": float(baseline * norm),
            "fast_norm": float((gain - baseline) * norm),
        }
        if self._before is not None:
            gain_before, weights_before = self._before
            moved = _norm([w - before for w, before in zip(weights, weights_before, strict=True)])
            norms["weight_step"] = float(gain * moved)
            norms["gain_step"] = float((gain - gain_before) * norm)
        self._before = gain, [weight.clone() for weight in weights]
        return norms


def sharpness(model: nn.Module, inputs: Tensor, labels: Tensor) -> float:
    """Return the sharpness of the loss with respect to the raw parameters, at a constant gain.

    Sharpness is the largest eigenvalue of the Hessian of the mean cross-entropy. Lanczos iteration
    (ARPACK) computes it from Hessian-vector products.

    Args:
        model: The network; its loss is that in evaluation mode.
        inputs: Inputs of the network, shape (N, ...).
        labels: Classes, shape (N,), int64.

    Returns:
        Sharpness in nats per squared unit of the parameters; NaN if a parameter is not finite or
        the iteration does not converge.
    """
    parameters = {n: p.detach() for n, p in model.named_parameters() if p.requires_grad}
    return _largest_eigenvalue(model, parameters, inputs, labels)


def effective_sharpness(model: nn.Module, inputs: Tensor, labels: Tensor) -> float:
    """Return the sharpness of the loss with respect to the effective parameters.

    The effective parameters of a gained layer are g times its raw parameters, so its part of the
    Hessian is that of the raw parameters divided by g squared.

    Args:
        model: The network; its loss is that in evaluation mode.
        inputs: Inputs of the network, shape (N, ...).
        labels: Classes, shape (N,), int64.

    Returns:
        Sharpness in nats per squared unit of the effective parameters; NaN if a parameter is not
        finite or the iteration does not converge.
    """
    modulation = _attached_gain(model)
    if modulation is None:
        return sharpness(model, inputs, labels)
    gained = {id(layer.weight) for layer in modulation.layers}
    parameters = {
        name: p.detach() * modulation.value if id(p) in gained else p.detach()
        for name, p in model.named_parameters()
        if p.requires_grad
    }
    with _gain_of_one(modulation):
        return _largest_eigenvalue(model, parameters, inputs, labels)


def _attached_gain(model: nn.Module) -> NeuronalGain | None:
    return next(iter(attached_gains(model)), None)


@contextmanager
def _gain_of_one(modulation: NeuronalGain) -> Iterator[None]:
    value, following = modulation.value, modulation.following
    modulation.assign(torch.ones_like(value), following)
    try:
        yield
    finally:
        modulation.assign(value, following)


def _largest_eigenvalue(
    model: nn.Module, parameters: dict[str, Tensor], inputs: Tensor, labels: Tensor
) -> float:
    from scipy.sparse.linalg import ArpackError, LinearOperator, eigsh

    if not all(p.isfinite().all() for p in parameters.values()):
        return float("nan")

    def loss(values: dict[str, Tensor]) -> Tensor:
        return F.cross_entropy(functional_call(model, values, (inputs,)), labels)

    mode = model.training
    model.eval()
    # The Hessian is symmetric, so a vector-Jacobian product of the gradient is a Hessian-vector
    # product. It builds the graph of the gradient only once.
    product_from_left = vjp(grad(loss), parameters)[1]
    sizes = [p.numel() for p in parameters.values()]

    def product(vector: NDArray[np.float64]) -> NDArray[np.float64]:
        flat = torch.from_numpy(np.asarray(vector, dtype=np.float32).ravel()).to(inputs.device)
        parts = zip(parameters.items(), torch.split(flat, sizes), strict=True)
        (curved,) = product_from_left({name: part.view_as(p) for (name, p), part in parts})
        return torch.cat([part.flatten() for part in curved.values()]).double().cpu().numpy()

    size = sum(sizes)
    start = np.random.default_rng(0).standard_normal(size)
    try:
        hessian = LinearOperator((size, size), matvec=product, dtype=np.float64)
        values, _ = eigsh(hessian, k=1, which="LA", v0=start, ncv=_LANCZOS_VECTORS, tol=_TOLERANCE)
        return float(values[0])
    except ArpackError:  # no convergence
        return float("nan")
    finally:
        model.train(mode)


def _norm(tensors: Sequence[Tensor]) -> Tensor:
    return torch.nn.utils.get_total_norm(tensors)
