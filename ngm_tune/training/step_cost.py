"""Time and memory of a training step, for networks of increasing depth and width.

Costs are ratios to plain SGD on the same network and batch. The methods alternate in one process,
so that other load on the machine affects all of them alike.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ngm_tune.benchmarks.models import MLP, SlimResNet18
from ngm_tune.learners import Batch, Learner
from ngm_tune.learners.modes import set_training_mode
from ngm_tune.methods import Method, get_method

_ROUNDS = 11
"""Number of times that each method is timed."""
_SECONDS_PER_ROUND = 0.1
_BASELINE = "sgd"


class Network(NamedTuple):
    """A network to measure, and the shape of its batches."""

    family: str
    depth: int
    """Number of linear layers of an MLP, or of basic blocks of a ResNet."""
    width: int
    """Number of hidden units of an MLP, or of channels in the first stage of a ResNet."""
    build: Callable[[], nn.Module]
    inputs: tuple[int, ...]


def _mlp(depth: int, width: int) -> Network:
    widths = (784, *[width] * (depth - 1), 10)
    std = float(np.sqrt(2.0 / width))
    return Network(
        "MLP", depth, width, lambda: MLP(widths, hidden_std=std, output_std=std), (128, 784)
    )


def _resnet(blocks: int, width: int) -> Network:
    return Network(
        "ResNet",
        4 * blocks,
        width,
        lambda: SlimResNet18(10, width, blocks=blocks),
        (32, 3, 32, 32),
    )


NETWORKS = (
    _mlp(3, 100),
    _mlp(3, 400),
    _mlp(3, 1600),
    _mlp(6, 400),
    _mlp(12, 400),
    _resnet(2, 8),
    _resnet(2, 20),
    _resnet(2, 40),
    _resnet(1, 20),
    _resnet(4, 20),
)


class Cost(NamedTuple):
    """Cost of a method's training step on a network, relative to SGD.

    A method that raises on the network has NaN costs and 0 bytes.

    Attributes:
        method: Name of the method.
        family: ``"MLP"`` or ``"ResNet"``.
        depth: Depth of the network.
        width: Width of the network.
        parameters: Number of parameters of the network.
        time_ratio: Time of a step divided by that of SGD, median over rounds.
        time_low: Lower quartile of the time ratio over rounds.
        time_high: Upper quartile of the time ratio over rounds.
        seconds: Seconds per step, median over rounds.
        memory_ratio: ``bytes`` divided by that of SGD.
        bytes: Peak size in bytes of parameters, gradients, state of the method and tensors saved
            for the backward pass.
    """

    method: str
    family: str
    depth: int
    width: int
    parameters: int
    time_ratio: float = math.nan
    time_low: float = math.nan
    time_high: float = math.nan
    seconds: float = math.nan
    memory_ratio: float = math.nan
    bytes: int = 0


def measure(
    methods: Sequence[str],
    networks: Sequence[Network] = NETWORKS,
    device: torch.device | str = "cpu",
) -> list[Cost]:
    """Measure a training step of each method on each network.

    Args:
        methods: Names of methods.
        networks: Networks to measure.
        device: Device to train on.
    """
    return [cost for network in networks for cost in _measure_on(network, methods, device)]


def _measure_on(network: Network, methods: Sequence[str], device: torch.device | str) -> list[Cost]:
    generator = torch.Generator().manual_seed(0)
    batch = Batch(
        torch.randn(network.inputs, generator=generator).to(device),
        torch.randint(10, network.inputs[:1], generator=generator).to(device),
        torch.arange(network.inputs[0], device=device) % 2,
    )
    names = [_BASELINE, *(name for name in methods if name != _BASELINE)]
    learners, memory = {}, {}
    for name in names:
        try:
            learners[name] = _build_learner(get_method(name), network, batch)
            memory[name] = training_bytes(learners[name], batch)
        except Exception:
            if name == _BASELINE:
                raise
    failing = [name for name in names if name not in memory]
    names = [name for name in names if name in memory]
    seconds: dict[str, list[float]] = {name: [] for name in names}
    steps = max(1, int(_SECONDS_PER_ROUND / _seconds_per_step(learners[_BASELINE], batch, 2)))
    for round_ in range(_ROUNDS):
        order = names if round_ % 2 else names[::-1]
        for name in order:
            seconds[name].append(_seconds_per_step(learners[name], batch, steps))
    parameters = sum(p.numel() for p in learners[_BASELINE].model.parameters())
    dimensions = network.family, network.depth, network.width, parameters
    costs = [Cost(name, *dimensions) for name in failing]
    for name in names:
        if name not in methods:
            continue
        ratios = np.divide(seconds[name], seconds[_BASELINE])
        low, median, high = np.quantile(ratios, [0.25, 0.5, 0.75])
        costs.append(
            Cost(
                name,
                *dimensions,
                float(median),
                float(low),
                float(high),
                float(np.median(seconds[name])),
                memory[name] / memory[_BASELINE],
                memory[name],
            )
        )
    return costs


def _build_learner(method: Method, network: Network, batch: Batch) -> Learner:
    """Build a method with its example hyper-parameters, and advance it to its second task."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = network.build().to(batch.inputs.device)
        built = method.build(model, **method.example)
        learner = built if isinstance(built, Learner) else Learner(model, built)
        learner.begin_task(0)
        set_training_mode(learner)
        learner.learn(batch)
        learner.end_task(0, lambda count: Batch(*(column[:count] for column in batch)))
        learner.begin_task(1)
    return learner


def _seconds_per_step(learner: Learner, batch: Batch, steps: int) -> float:
    """Return the seconds per training step."""
    set_training_mode(learner)
    _wait_for(batch.inputs)
    start = time.perf_counter()
    for _ in range(steps):
        learner.learn(batch)
    _wait_for(batch.inputs)
    return (time.perf_counter() - start) / steps


def _wait_for(tensor: Tensor) -> None:
    """Wait until the device has finished all its work."""
    if tensor.is_cuda:
        torch.cuda.synchronize(tensor.device)


def training_bytes(learner: Learner, batch: Batch) -> int:
    """Return the memory in bytes of training at the peak of a step, in its steady state.

    It is the size of the parameters, buffers and gradients of the model, of the state of the method
    and of the tensors that autograd saves for the backward pass. Each storage counts once.
    """
    set_training_mode(learner)
    learner.learn(batch)  # allocates gradients and state
    persistent = _storages(_collect_tensors(learner.state_dict()))
    gradients = [p.grad for p in learner.model.parameters() if p.grad is not None]
    ledger = _Ledger({*persistent, *_storages(list(batch))})
    with torch.autograd.graph.saved_tensors_hooks(ledger.pack, ledger.unpack):
        learner.learn(batch)
    return sum((persistent | _storages(gradients)).values()) + ledger.peak


class _Saved:
    """A tensor that autograd saves; a ledger counts it until autograd releases it."""

    def __init__(self, ledger: _Ledger, tensor: Tensor) -> None:
        self.tensor = tensor
        self._ledger = ledger
        self._storage = tensor.untyped_storage().data_ptr()
        self._ledger.add(self._storage, tensor.untyped_storage().nbytes())

    def __del__(self) -> None:
        self._ledger.drop(self._storage)


class _Ledger:
    """Counts the bytes that autograd saves, except in storages that are counted elsewhere.

    Args:
        others: Addresses of storages that are not counted.
    """

    def __init__(self, others: set[int]) -> None:
        self._others = others
        self._bytes: dict[int, int] = {}
        self._holders: Counter[int] = Counter()
        self.peak = 0

    def pack(self, tensor: Tensor) -> _Saved | Tensor:
        is_other = tensor.untyped_storage().data_ptr() in self._others
        return tensor if is_other else _Saved(self, tensor)

    def unpack(self, packed: _Saved | Tensor) -> Tensor:
        return packed.tensor if isinstance(packed, _Saved) else packed

    def add(self, storage: int, size: int) -> None:
        self._holders[storage] += 1
        self._bytes[storage] = size
        self.peak = max(self.peak, sum(self._bytes.values()))

    def drop(self, storage: int) -> None:
        self._holders[storage] -= 1
        if not self._holders[storage]:
            del self._holders[storage], self._bytes[storage]


def _storages(tensors: Sequence[Tensor]) -> dict[int, int]:
    """Return the size in bytes of every storage, by its address."""
    return {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}


def _collect_tensors(state: Any) -> list[Tensor]:
    """Return all tensors in nested dictionaries, lists and tuples."""
    if isinstance(state, Tensor):
        return [state]
    if isinstance(state, dict):
        state = list(state.values())
    if isinstance(state, list | tuple):
        return [tensor for part in state for tensor in _collect_tensors(part)]
    return []
