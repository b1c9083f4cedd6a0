"""The tables of a study file: what a trial gets, when it is given up, what follows the search."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

Count = Annotated[int, Field(ge=1, le=1_000_000)]
SeedCount = Annotated[int, Field(ge=1, le=10_000)]
Share = Annotated[float, Field(gt=0.0, lt=1.0)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Resources(_Table):
    """What a trial gets of a machine."""

    cpu: Annotated[int, Field(ge=1)] = 1
    """Cores, and so threads."""
    gpu: Annotated[float, Field(ge=0.0, strict=False, allow_inf_nan=False)] = 0.0
    """Share of a GPU, on which the trial then trains; or how many."""

    @field_validator("gpu", mode="before")
    @classmethod
    def _a_number(cls, value: object) -> object:
        if isinstance(value, bool):
            raise ValueError("must be a number")
        return value

    @field_validator("gpu")
    @classmethod
    def _a_share_or_whole(cls, value: float) -> float:
        if value > 1.0 and value != int(value):
            raise ValueError("must be a share of one, up to 1, or a whole number")
        return value


class Confirm(_Table):
    """What is run again once a search is over, on the test data and with seeds it never saw."""

    max_configurations: Annotated[int, Field(ge=0, le=1000)] = 4
    """At most so many configurations of each front, spread by hypervolume contribution; 0 for no
    confirmation, and then no claim."""
    seeds: SeedCount = 5
    """Runs of each."""


class Racing(_Table):
    """Seeds one by one, and further ones only for configurations that could be on the front."""

    min_probability: Share = 0.2
    """The probability of being non-dominated from which a configuration gets a further seed."""


class EarlyStopping(_Table):
    """Trials stopped early that are dominated by their peers at the same task."""

    quantile: Share = 0.7
    """The share of peers of a better non-dominated rank at which a trial is stopped."""
    min_peers: Annotated[int, Field(ge=2, le=1_000_000)] = 8
    """How many peers there must be to compare with."""
    grace_tasks: Annotated[int, Field(ge=2, le=1_000_000)] = 2
    """Tasks that every trial is trained on; the first transition comes with the second."""


class Plateau(_Table):
    """The end of a search that gains nothing more."""

    patience: Count = 20
    """Over how many trials of every method hypervolume is looked at."""
    min_improvement: Share = 0.01
    """The relative growth over these, below which, for every method of a benchmark, its search
    ends; for all after the same number of trials."""
