"""What a planned study can resolve, given the spread between repetitions of an earlier one."""

from __future__ import annotations

from typing import NamedTuple

from ngm_tune.errors import UserError

from ..loaded_study import LoadedStudy
from .answer import answer
from .paired import LEVEL, resolvable_difference


class Resolution(NamedTuple):
    """The smallest difference from one rival that a planned study can resolve.

    Attributes:
        benchmark: Name of the benchmark.
        quantity: Title of the compared quantity.
        rival: Title of the rival.
        spread: Standard deviation of the paired differences between repetitions, in the earlier
            study.
        difference: The smallest true difference that 80 % of studies find.
    """

    benchmark: str
    quantity: str
    rival: str
    spread: float
    difference: float


def resolutions(earlier: LoadedStudy, searches: int, rivals: int) -> list[Resolution]:
    """Return what a study of the methods and benchmarks of an earlier one can resolve.

    The level of the test is divided by the number of rivals, as in
    :attr:`~analysis.statistics.verdict.Comparison.resolvable`.

    Args:
        earlier: The earlier study.
        searches: Number of repetitions of the planned study.
        rivals: Number of rivals in the planned study, at least 1.

    Raises:
        UserError: The planned study has a single repetition, or no comparison of the earlier one
            has two complete repetitions.
    """
    if searches < 2:
        raise UserError(
            f"searches = {searches}: the interval of a difference needs at least two repetitions"
        )
    found = [
        Resolution(
            benchmark,
            each.endpoint.title,
            earlier.method_title(each.rival),
            each.estimate.sd,
            resolvable_difference(each.estimate.sd, searches, LEVEL / rivals),
        )
        for benchmark in earlier.benchmarks
        for each in answer(earlier, benchmark).comparisons
        if not each.one_search and each.estimate.n > 1
    ]
    if not found:
        raise UserError(
            f"{earlier.results.location}: has fewer than two complete repetitions with a rival, so "
            "the spread between repetitions is unknown"
        )
    return found
