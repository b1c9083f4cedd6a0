"""The description of a benchmark. Importing it loads neither torch nor NumPy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from ngm_tune.benchmarks.sources import Source

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from ngm_tune.benchmarks.tasks import TaskData

    Augmentation = Callable[[Tensor, torch.Generator], Tensor]
    """From a batch of stored examples and a source of randomness on their device to a batch like
    it."""

Normalisation = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and standard deviation per channel, of pixels in [0, 1]."""


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """A sequence of tasks with the protocol it is trained under (arXiv 2507.14056, section 3).

    Attributes:
        name: How studies and results call it.
        title: How people call it.
        kind: Whether a new task brings new classes or the same classes in a new guise.
        tasks: Number of tasks K.
        classes: Number of classes C of the one output head.
        batch_size: Examples per training batch.
        iterations_per_task: Training iterations on each task.
        load: Reads the data; the same every time.
        build_model: Makes a freshly initialised network from torch's global random state.
        normalisation: For uint8 images; None where the data is float32 already.
        augment: Changes a batch of stored training examples at random; None to leave them.
        settings: Hyper-parameters that methods which have them take on this network, unless a
            study says otherwise.
        source: The dataset it is made of, where that is one that is looked for and verified.
    """

    name: str
    title: str
    kind: Literal["class-incremental", "domain-incremental"]
    tasks: int
    classes: int
    batch_size: int
    iterations_per_task: int
    load: Callable[[], TaskData] = field(repr=False)
    build_model: Callable[[], nn.Module] = field(repr=False)
    normalisation: Normalisation | None = None
    augment: Augmentation | None = field(default=None, repr=False)
    settings: Mapping[str, str | float] = field(default_factory=dict)
    source: Source | None = field(default=None, repr=False)

    @property
    def chance(self) -> float:
        """Accuracy of guessing."""
        return 1.0 / self.classes

    def prepare(self, inputs: Tensor) -> Tensor:
        """What the network takes: uint8 pixels of shape (B, channels, H, W) normalised, as float32.

        Inputs that are float32 already are returned as they are.
        """
        import torch

        if self.normalisation is None:
            return inputs
        mean, std = (
            torch.tensor(values, device=inputs.device).view(-1, 1, 1)
            for values in self.normalisation
        )
        return (inputs.float() / 255.0 - mean) / std
