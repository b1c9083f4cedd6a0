"""Calibration of the verdict on made-up studies with known truth.

The studies are those of :mod:`tests.performance.made_up_studies`; endpoints, selection and
comparison are those of ngm-tune. The true difference of two methods is 0 if their surfaces are
equal, and otherwise the mean over all repetitions of the scenario.

    python -m tests.performance.coverage     the tables of docs/verdict.md, in about 8 minutes
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ngm_tune.analysis.statistics.endpoints import search_endpoints
from ngm_tune.analysis.statistics.paired import resolvable_difference
from ngm_tune.analysis.statistics.verdict import Comparison, Outcome, compare

from .made_up_studies import (
    MARGINS,
    OBJECTIVES,
    REFERENCE,
    SCENARIOS,
    Scenario,
    confirm,
    draw_repetitions,
    make_study,
    perturb,
    select,
)

MEASURED = Path(__file__).parent / "coverage.json"

ENDPOINTS = search_endpoints(OBJECTIVES, REFERENCE, MARGINS)
REPETITIONS = (3, 5, 10)
STUDIES = 400
"""Number of studies at the largest number of repetitions. Fewer repetitions make more studies."""
CHUNK = 500
"""Number of repetitions that are drawn at once."""


class Cell(NamedTuple):
    """Rates of one endpoint in one scenario. Rates are means over studies, with standard errors.

    Attributes:
        scenario: Title of the scenario.
        repetitions: Number of repetitions of each study.
        endpoint: Name of the endpoint.
        studies: Number of studies.
        truth: True difference between the focus and its rivals.
        sd: Median of the standard deviation of the paired differences.
        resolvable: Smallest true difference that 80 % of studies would find, at that ``sd``; None
            if most studies have fewer than two repetitions in which the endpoint is defined.
        covered: Share of intervals that contain the truth.
        false: Share of studies with a "better" or "worse" that is untrue, for any rival.
        better: Share of comparisons with the outcome "better".
        equivalent: Share of comparisons with the outcome "equivalent".
        edge: Share of comparisons whose interval lies within the true difference on either side of
            zero: how often a difference as large as the margin is called equivalent. None for equal
            methods.
        changed: Share of studies in which perturbed scores change an outcome of this endpoint.
        changed_any: The same for the outcomes of all endpoints.
        reversed: Share of studies in which they turn "better" into "worse" or the reverse.
        undefined: Share of repetitions in which the endpoint is undefined.
        no_interval: Share of comparisons without an interval.
    """

    scenario: str
    repetitions: int
    endpoint: str
    studies: int
    truth: float
    sd: float
    resolvable: float | None
    covered: tuple[float, float]
    false: tuple[float, float]
    better: tuple[float, float]
    equivalent: tuple[float, float]
    edge: tuple[float, float] | None
    changed: tuple[float, float]
    changed_any: tuple[float, float]
    reversed: tuple[float, float]
    undefined: float
    no_interval: float


def measure(scenario: Scenario, studies: int = STUDIES, seed: int = 0) -> list[Cell]:
    """Return the rates of a scenario for each number of repetitions and endpoint.

    Studies with different numbers of repetitions are made of the same repetitions.
    """
    count = studies * REPETITIONS[-1]
    random = np.random.default_rng([seed, SCENARIOS.index(scenario)])
    plain, perturbed = [], []
    for start in range(0, count, CHUNK):
        for searches in draw_repetitions(scenario, min(CHUNK, count - start), random):
            plain.append({name: confirm(scenario, each) for name, each in searches.items()})
            perturbed.append(
                {name: confirm(scenario, perturb(each, random)) for name, each in searches.items()}
            )
    compared = {
        size: [
            tuple(
                compare(make_study(scenario, part[first : first + size], first // size), ENDPOINTS)
                for part in (plain, perturbed)
            )
            for first in range(0, count - size + 1, size)
        ]
        for size in REPETITIONS
    }
    truths = [
        0.0
        if scenario.has_equal_methods
        else float(np.mean([d for a, _ in compared[REPETITIONS[-1]] for d in a[i].differences]))
        for i in range(len(ENDPOINTS))
    ]
    return [
        _rate(scenario, size, i, compared[size], truths[i])
        for size in REPETITIONS
        for i in range(len(ENDPOINTS))
    ]


def _rate(
    scenario: Scenario,
    repetitions: int,
    index: int,
    studies: Sequence[tuple[list[Comparison], ...]],
    truth: float,
) -> Cell:
    """Return the rates of endpoint number ``index``."""
    rivals = len(scenario.shifts) - 1
    part = slice(index * rivals, (index + 1) * rivals)
    comparisons = [plain[part] for plain, _ in studies]
    outcomes = [[each.outcome for each in study] for study in comparisons]
    estimates = np.array([[each.estimate for each in study] for study in comparisons])
    low, high, sd, _, defined = np.moveaxis(estimates[..., 1:], -1, 0)
    has_interval = ~np.isnan(low)

    def rate(*wanted: Outcome) -> NDArray[np.bool_]:
        return np.array([[outcome in wanted for outcome in study] for study in outcomes])

    contrary = {Outcome.BETTER, Outcome.WORSE}
    reversed_ = [
        any({a.outcome, b.outcome} == contrary for a, b in zip(x[part], y[part], strict=True))
        for x, y in studies
    ]
    untrue = [Outcome.BETTER] * (truth <= 0) + [Outcome.WORSE] * (truth >= 0)
    changed = [[a.outcome is not b.outcome for a, b in zip(*pair, strict=True)] for pair in studies]
    median_sd, size = float(np.nanmedian(sd)), int(np.median(defined))
    with_interval = has_interval.all(axis=1)
    covered = ((low <= truth) & (truth <= high))[with_interval]
    within = (np.maximum(-low, high) <= abs(truth)).any(axis=1)
    return Cell(
        scenario=scenario.title,
        repetitions=repetitions,
        endpoint=ENDPOINTS[index].name,
        studies=len(studies),
        truth=round(truth, 5),
        sd=round(median_sd, 5),
        resolvable=round(resolvable_difference(median_sd, size), 5) if size > 1 else None,
        covered=_mean(covered.mean(axis=1)),
        false=_mean(rate(*untrue).any(axis=1)),
        better=_mean(rate(Outcome.BETTER).mean(axis=1)),
        equivalent=_mean(rate(Outcome.EQUIVALENT).mean(axis=1)),
        edge=None if truth == 0 else _mean(within),
        changed=_mean([any(study[part]) for study in changed]),
        changed_any=_mean([any(study) for study in changed]),
        reversed=_mean(reversed_),
        undefined=float(
            np.mean([each.n_undefined / repetitions for study in comparisons for each in study])
        ),
        no_interval=float(np.mean(~has_interval)),
    )


class OneSearch(NamedTuple):
    """Rates of the interval over seeds of studies with one repetition.

    Attributes:
        scenario: Title of the scenario.
        endpoint: Name of the endpoint.
        studies: Number of studies.
        covered: Share of intervals that contain the difference of the confirmed configurations.
        covered_methods: Share of intervals that contain the difference of the methods.
    """

    scenario: str
    endpoint: str
    studies: int
    covered: tuple[float, float]
    covered_methods: tuple[float, float]


def measure_one_search(scenario: Scenario, studies: int = STUDIES) -> list[OneSearch]:
    """Return the rates of studies with one repetition and equal methods."""
    random = np.random.default_rng(SCENARIOS.index(scenario))
    covered, covered_methods = [], []
    for searches in draw_repetitions(scenario, studies, random):
        values = {name: [confirm(scenario, each)] for name, each in searches.items()}
        expected = [
            each.expected[select(scenario, each.scores)].clip(0.0, 1.0)
            for each in searches.values()
        ]
        intervals = [each.estimate[1:3] for each in compare(values, ENDPOINTS)]
        truths = [endpoint.difference(*expected) for endpoint in ENDPOINTS]
        covered.append([a <= t <= b for t, (a, b) in zip(truths, intervals, strict=True)])
        covered_methods.append([a <= 0.0 <= b for a, b in intervals])
    return [
        OneSearch(
            scenario.title,
            endpoint.name,
            studies,
            _mean(np.array(covered)[:, i]),
            _mean(np.array(covered_methods)[:, i]),
        )
        for i, endpoint in enumerate(ENDPOINTS)
    ]


def _mean(values: Sequence[float] | NDArray[np.generic]) -> tuple[float, float]:
    """Return a mean over studies with its standard error."""
    array = np.asarray(values, dtype=np.float64)
    return round(float(array.mean()), 5), round(float(array.std() / len(array) ** 0.5), 5)


def markdown(cells: Sequence[Cell], endpoint: str) -> str:
    """Return the rates of an endpoint, in percent, as a Markdown table of docs/verdict.md."""
    return _table(
        {
            "scenario": cell.scenario,
            "R": str(cell.repetitions),
            "truth": f"{cell.truth:.3f}",
            "resolves": "–" if cell.resolvable is None else f"{cell.resolvable:.3f}",
            "covered": _percent(cell.covered),
            "false": _percent(cell.false),
            "better": _percent(cell.better),
            "equivalent": _percent(cell.equivalent),
            "at the edge": _percent(cell.edge),
            "changed": _percent(cell.changed),
            "undefined": f"{100 * cell.undefined:.0f}",
        }
        for cell in cells
        if cell.endpoint == endpoint
    )


def one_search_markdown(rows: Sequence[OneSearch]) -> str:
    """Return the rates of studies with one repetition, in percent, as a Markdown table."""
    return _table(
        {
            "scenario": row.scenario,
            "endpoint": row.endpoint,
            "covers the configurations": _percent(row.covered),
            "covers the methods": _percent(row.covered_methods),
        }
        for row in rows
    )


def _table(rows: Iterable[dict[str, str]]) -> str:
    """Return rows with equal keys as a Markdown table."""
    first, *others = rows
    lines = [list(first), ["---"] * len(first), *(list(row.values()) for row in (first, *others))]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _percent(rate: tuple[float, float] | None) -> str:
    return "–" if rate is None else f"{100 * rate[0]:.1f} ± {100 * rate[1]:.1f}"


def main() -> None:
    """Measure all scenarios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--studies", type=int, default=STUDIES)
    parser.add_argument("--scenario", choices=[each.name for each in SCENARIOS])
    arguments = parser.parse_args()
    cells: list[Cell] = []
    for scenario in SCENARIOS:
        if arguments.scenario in (None, scenario.name):
            cells += measure(scenario, arguments.studies)
            print(f"Measured: {scenario.title}", file=sys.stderr, flush=True)
    one_search = [
        each
        for scenario in SCENARIOS
        if scenario.name in ("equal", "heavy")
        for each in measure_one_search(scenario, arguments.studies)
    ]
    if arguments.scenario is None:
        MEASURED.write_text(_as_json(cells, one_search), encoding="utf-8")
    for endpoint in ENDPOINTS:
        print(endpoint.title, markdown(cells, endpoint.name), sep="\n\n")
    print("One repetition", one_search_markdown(one_search), sep="\n\n")


def _as_json(cells: Sequence[Cell], one_search: Sequence[OneSearch]) -> str:
    """Return the measurement as JSON, one line per row."""
    parts = (",\n".join(json.dumps(row._asdict()) for row in rows) for rows in (cells, one_search))
    return '{{"repeated": [\n{}\n], "one_search": [\n{}\n]}}\n'.format(*parts)


if __name__ == "__main__":
    main()
