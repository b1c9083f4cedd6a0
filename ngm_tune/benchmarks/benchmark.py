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
    """Maps a batch of stored examples, and a generator on their device, to an augmented batch."""

Normalisation = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and standard deviation of each channel, for pixels in [0, 1]."""


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """A sequence of tasks and its training protocol (arXiv 2507.14056, section 3).

    Attributes:
        name: Name in studies and results.
        title: Name in tables and reports.
        kind: ``"class-incremental"`` if each task has new classes; ``"domain-incremental"`` if all
            tasks have the same classes in different domains.
        tasks: Number of tasks K.
        classes: Number of classes C. All tasks share one output head.
        batch_size: Examples per training batch.
        iterations_per_task: Training iterations on each task.
        load: Reads the data. Every call returns the same examples in the same order.
        build_model: Builds a network and initialises it with torch's global generator.
        normalisation: Normalisation of uint8 images; None if the data is float32.
        augment: Augments a batch of stored training examples at random; None for no augmentation.
        settings: Hyper-parameters for methods that accept them, unless a study sets them.
        permutes_pixels: Whether the tasks after the first permute the pixels of its images.
        source: The dataset of the benchmark; None if the benchmark needs no download.
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
    permutes_pixels: bool = False
    source: Source | None = field(default=None, repr=False)

    @property
    def has_order(self) -> bool:
        """Whether the order of classes, or of pixels, can be drawn at random."""
        return self.kind == "class-incremental" or self.permutes_pixels

    @property
    def chance(self) -> float:
        """Accuracy of a uniform random prediction."""
        return 1.0 / self.classes

    def prepare(self, inputs: Tensor) -> Tensor:
        """Convert stored examples to inputs of the network.

        Args:
            inputs: uint8 pixels of shape (B, channels, H, W); any shape and type for benchmarks
                without normalisation.

        Returns:
            Normalised float32 pixels of the same shape; ``inputs`` itself without normalisation.
        """
        import torch

        if self.normalisation is None:
            return inputs
        mean, std = (
            torch.tensor(values, device=inputs.device).view(-1, 1, 1)
            for values in self.normalisation
        )
        return (inputs.float() / 255.0 - mean) / std
