"""Custom benchmarks: images or Parquet files of the user, cut into tasks by a study file."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from ngm_tune.benchmarks.benchmark import Normalisation

NAME = "custom"
_MLPS_UP_TO = 1 * 32 * 32
"""Largest number of values per image for which the default network is an MLP."""

_RESNET_STRIDE = 8
"""Pixels per feature in the last stage of the slim ResNet-18, along each axis."""


class Custom(BaseModel):
    """Your own images, divided into tasks."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True
    )

    path: Annotated[str, Field(min_length=1)]
    """Path of the images, absolute or relative to the data folder.

    Either a folder of images, `<class>/*.png` or `train/<class>/*.png` with an optional
    `test/<class>/*.png`; or a folder with `train-*.parquet` and optionally `test-*.parquet`,
    possibly in a subfolder; or one Parquet file. Transparent pixels become white."""
    tasks: (
        Annotated[int, Field(ge=2, le=100_000)]
        | Annotated[list[Annotated[list[str], Field(min_length=1)]], Field(min_length=2)]
    )
    """Number of tasks, with equal numbers of consecutive classes; or the classes of each task."""
    title: str = "Custom"
    """Name of the benchmark in reports."""
    label: str = "label"
    """Column of the class indices in Parquet files."""
    size: Annotated[int, Field(ge=4, le=512)] = 32
    """Height and width to which images are resized, in pixels."""
    channels: Literal[1, 3] = 3
    """1 for grey images, 3 for colour images."""
    test_share: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.2
    """Fraction of the images for testing, if `path` has no separate test data."""
    model: Literal["mlp", "slim-resnet18"] | None = None
    """Network. The default is an MLP for grey images of up to 32 x 32 pixels, otherwise a slim
    ResNet-18."""
    augment: bool = False
    """Crop and flip training images at random."""
    batch_size: Annotated[int, Field(ge=1, le=1_000_000)] = 128
    """Number of examples in a batch."""
    iterations_per_task: Annotated[int, Field(ge=1, le=1_000_000)] = 200
    """Training iterations of each task."""
    normalisation: Normalisation | None = None
    """Mean and standard deviation of each channel; by default those of the training images."""

    @field_validator("normalisation", mode="before")
    @classmethod
    def _convert_to_tuples(cls, value: object) -> object:
        if isinstance(value, list):  # TOML has lists only
            return tuple(tuple(part) if isinstance(part, list) else part for part in value)
        return value

    @field_validator("normalisation")
    @classmethod
    def _check_normalisation(
        cls, value: Normalisation | None, info: ValidationInfo
    ) -> Normalisation | None:
        channels = info.data.get("channels")
        if value is not None and any(len(part) != channels for part in value):
            raise ValueError(f"must be two lists of {channels} numbers, one number per channel")
        if value is not None and not all(map(math.isfinite, value[0] + value[1])):
            raise ValueError("must be finite numbers")
        if value is not None and min(value[1]) <= 0.0:
            raise ValueError("a standard deviation must be positive")
        return value

    @field_validator("tasks")
    @classmethod
    def _check_tasks(cls, tasks: int | list[list[str]]) -> int | list[list[str]]:
        names = [name for task in tasks for name in task] if isinstance(tasks, list) else []
        if len(set(names)) != len(names):
            raise ValueError("a class is listed twice")
        return tasks

    @model_validator(mode="after")
    def _check_batch_size(self) -> Custom:
        if self.network != "mlp" and self.batch_size == 1 and self.size <= _RESNET_STRIDE:
            raise ValueError(
                f"batch_size = 1 and size = {self.size}: the ResNet's batch normalisation needs at "
                f"least 2 images per batch or more than {_RESNET_STRIDE} pixels"
            )
        return self

    @property
    def network(self) -> Literal["mlp", "slim-resnet18"]:
        """The network: ``model``, or by default the one that fits the size of the images."""
        is_small = self.channels * self.size**2 <= _MLPS_UP_TO
        return self.model or ("mlp" if is_small else "slim-resnet18")
