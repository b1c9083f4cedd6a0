"""Synthetic results of a study with transfers between two or three benchmarks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ngm_tune.results.ids import TrialId
from tests.helpers.made_up import REPEATED, MadeUp, Point

BENCHMARKS = ("split-digits", "rotated-digits", "permuted-mnist")


def make_transfers(
    folder: Path,
    points: Mapping[str, Sequence[Sequence[Mapping[str, Point]]]],
    *,
    searched: Mapping[TrialId, Point] | None = None,
    study: str = REPEATED,
) -> MadeUp:
    """Return a study of SGD in which every configuration runs on every benchmark.

    Args:
        folder: The results directory.
        points: By benchmark of the search: for each repetition, for each of its configurations, its
            scores on test data by benchmark.
        searched: Search scores of configurations; by default their scores on test data.
        study: Contents of ``study.toml``.
    """
    names = ", ".join(f'"{name}"' for name in points)
    study = study.replace('["split-digits"]', f"[{names}]").replace(
        "seeds = 3 }", "seeds = 3, transfer = true }"
    )
    made = MadeUp(folder, study=study.replace('"ngm-sgd", "sgd"', '"sgd"'))
    for origin, repetitions in points.items():
        for repetition, configurations in enumerate(repetitions):
            first = repetition * 20_000
            fresh = range(first + 1000, first + 1003)
            for number, scores in enumerate(configurations):
                trial = TrialId(origin, "sgd", number, repetition=repetition)
                estimate = (searched or {}).get(trial, scores[origin])
                made.rows(str(trial), [estimate] * 2, range(first, first + 2), phase="search")
                made.rows(str(trial.confirmation()), [scores[origin]] * 3, fresh)
                for benchmark in points:
                    if benchmark != origin:
                        moved = str(trial.transfer(benchmark))
                        made.rows(moved, [scores[benchmark]] * 3, fresh, phase="transfer")
    return made
