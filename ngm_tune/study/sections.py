"""Tables of a study file: resources and confirm."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

from ngm_tune.results.run_seeds import MAX_SEEDS

Count = Annotated[int, Field(ge=1, le=1_000_000)]
SeedCount = Annotated[int, Field(ge=1, le=MAX_SEEDS)]


class _Table(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True
    )


class Resources(_Table):
    """A trial's share of a machine."""

    cpu: Annotated[int, Field(ge=1)] = 1
    """Number of cores, and of threads."""
    gpu: Annotated[float, Field(ge=0.0, strict=False, allow_inf_nan=False)] = 0.0
    """Number of GPUs, or a fraction of one. A trial with a GPU trains on it."""

    @field_validator("gpu", mode="before")
    @classmethod
    def _check_number(cls, value: object) -> object:
        if isinstance(value, bool):
            raise ValueError("must be a number")
        return value

    @field_validator("gpu")
    @classmethod
    def _check_share(cls, value: float) -> float:
        if value > 1.0 and value != int(value):
            raise ValueError("must be a fraction of one GPU, up to 1, or a whole number")
        return value


class Confirm(_Table):
    """How the best configurations of a search are confirmed: on the test data, with fresh seeds."""

    max_configurations: Annotated[int, Field(ge=0, le=1000)] = 8
    """Largest number of configurations of each search; 0 for no confirmation. They are those that
    add the most hypervolume, then those nearest to the ideal. The more there are, the less depends
    on the noise of the search."""
    seeds: SeedCount = 2
    """Number of fresh seeds for each configuration."""
    transfer: bool = False
    """Whether the configurations that are confirmed on a benchmark also run on the test data of
    every other benchmark of the study. The report then shows what is lost by using settings that
    were tuned on another data set."""
