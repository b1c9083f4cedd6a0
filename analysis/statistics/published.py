"""Our numbers next to the paper's, in the authors' way of averaging and in ours.

Published values are those of arXiv 2507.14056 and of the Split-MNIST seeds that its authors
published. Their tables take the minima of the stability gap on the mean curve over seeds, which
hides dips that fall on different iterations in different seeds; "per seed" takes each seed's own
minima first.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ngm_tune.metrics.functional import AccuracyCurves, stability_gaps
from ngm_tune.study.paper import paper_study

from ..formatting import counted, number
from ..loading import LoadedStudy

_PUBLISHED_SEEDS = 5


class Published(NamedTuple):
    """A published mean and, where it was given, its standard deviation over seeds."""

    mean: float
    sd: float | None = None


class Cell(NamedTuple):
    """A quantity, as published and as found here."""

    benchmark: str
    method: str
    quantity: str
    published: Published | None
    ours: float
    our_sd: float | None
    """None for a single seed."""
    seeds: int = 1
    """Of ours, those that the value is of."""
    diverged: int = 0
    """Seeds that diverged, and are left out."""
    lost: int = 0
    """Seeds of which curves or steps are gone or damaged, and which are left out."""

    @property
    def outside(self) -> bool:
        """Whether the two means differ by more than two standard errors of their difference.

        One without a deviation is taken to have that of the other; where neither has any, that
        cannot be told.
        """
        theirs = self.published.sd if self.published else None
        known = [sd for sd in (theirs, self.our_sd) if sd is not None]
        if self.published is None or not known or not self.seeds:
            return False
        error = np.hypot(known[0] / np.sqrt(_PUBLISHED_SEEDS), known[-1] / np.sqrt(self.seeds))
        return abs(self.ours - self.published.mean) > 2.0 * float(error)


MEAN_CURVE = "avg-SG, first task, minima on the mean curve"
PER_SEED = "avg-SG, first task, minima per seed"

_MEAN_CURVE = {
    "split-mnist": {
        "ngm-sgd": Published(0.017),
        "momentum-sgd": Published(0.267),
        "adam": Published(0.283),
        "sgd": Published(0.034),
    },
    "rotated-mnist": {
        "ngm-sgd": Published(0.054),
        "momentum-sgd": Published(0.117),
        "adam": Published(0.092),
        "sgd": Published(0.053),
    },
    "split-cifar10": {
        "ngm-sgd": Published(0.134, 0.043),
        "momentum-sgd": Published(0.425, 0.044),
        "adam": Published(0.310, 0.088),
        "sgd": Published(0.241),
    },
    "domain-cifar100": {
        "ngm-sgd": Published(0.224),
        "momentum-sgd": Published(0.232),
        "adam": Published(0.256),
        "sgd": Published(0.243),
    },
    "split-mini-imagenet": {
        "ngm-sgd": Published(0.300, 0.071),
        "momentum-sgd": Published(0.409),
        "adam": Published(0.384),
        "sgd": Published(0.332),
    },
}

_PER_SEED = {
    "split-mnist": {
        "ngm-sgd": Published(0.028, 0.002),
        "momentum-sgd": Published(0.274, 0.007),
        "adam": Published(0.259, 0.078),
        "sgd": Published(0.010, 0.001),
    },
}

_TRANSITIONS = {
    "split-mnist": {
        "ngm-sgd": (0.029, 0.015, 0.013, 0.019),
        "momentum-sgd": (1.000, 0.042, 0.015, 0.022),
        "adam": (0.313, 0.159, 0.097, 0.052),
        "sgd": (0.016, 0.006, 0.007, 0.005),
    },
}
"""SG of each transition on the mean curve, of the published seeds."""

_TASK_ENDS = {
    "split-mnist": {
        "ngm-sgd": (0.9988, 0.9922, 0.9909, 0.9871, 0.9818),
        "momentum-sgd": (0.9993, 0.9919, 0.9900, 0.9889, 0.9841),
        "adam": (0.9994, 0.9911, 0.9836, 0.9820, 0.9739),
        "sgd": (0.9982, 0.9853, 0.9805, 0.9769, 0.9741),
    },
}

_GAIN_AT_ENDS = {"split-mnist": (1.31, 1.68, 1.89, 1.94, 2.11)}
_GAIN_PEAK = {"split-mnist": 3.09, "rotated-mnist": 5.8, "split-cifar10": 2.8}


def comparison(loaded: LoadedStudy) -> list[Cell]:
    """Every published quantity that the study measured; none for a study that searched.

    The gap on the first task comes in both ways of averaging, also where neither was published.
    Seeds that diverged have none, nor those whose curves or steps are not all there; both are
    counted.
    """
    if not loaded.given:
        return []
    cells = []
    runs = loaded.confirmed.filter(pl.col("status").is_in(["completed", "diverged"]))
    for row in sorted(runs.to_dicts(), key=lambda run: loaded.methods.index(run["method"])):
        benchmark, method, trial = row["benchmark"], row["method"], row["trial_id"]
        if not paper_study(benchmark):
            continue
        ended = loaded.runs.filter(trial_id=trial)
        completed = ended.filter(status="completed")
        diverged = ended.filter(status="diverged").height

        def add(
            quantity: str,
            published: Published | None,
            values: NDArray[np.float64],
            ours: float | None = None,
            benchmark: str = benchmark,
            method: str = method,
            diverged: int = diverged,
            completed: int = completed.height,
        ) -> None:
            seeds = len(values)
            if ours is None:
                ours = values.mean() if seeds else np.nan
            sd = float(values.std(ddof=1)) if seeds > 1 else None
            counts = (seeds, diverged, completed - seeds)
            cells.append(Cell(benchmark, method, quantity, published, float(ours), sd, *counts))

        curves = _first_task_curves(loaded, trial, completed)
        if not curves:
            add(MEAN_CURVE, _MEAN_CURVE.get(benchmark, {}).get(method), np.array([]))
            continue
        gaps = np.array([stability_gaps(curve, "first") for curve in curves])
        on_mean = stability_gaps(_mean_curve(curves), "first")
        averages = gaps.mean(axis=1)
        add(MEAN_CURVE, _MEAN_CURVE.get(benchmark, {}).get(method), averages, on_mean.mean())
        add(PER_SEED, _PER_SEED.get(benchmark, {}).get(method), averages)
        for task, value in enumerate(_TRANSITIONS.get(benchmark, {}).get(method, ())):
            quantity = f"SG of the transition into task {task + 2}, first task, on the mean curve"
            add(quantity, Published(value), gaps[:, task], on_mean[task])
        ends = np.array([curve.at_task_ends()[:, 0] for curve in curves])
        for task, value in enumerate(_TASK_ENDS.get(benchmark, {}).get(method, ())):
            add(f"first-task accuracy, end of task {task + 1}", Published(value), ends[:, task])
        if method == "ngm-sgd" and benchmark in _GAIN_PEAK:
            gains = _gains(loaded, trial, completed, curves[0].task_ends)
            for task, value in enumerate(_GAIN_AT_ENDS.get(benchmark, ())):
                add(f"gain, end of task {task + 1}", Published(value), gains[:, task])
            add("gain, peak", Published(_GAIN_PEAK[benchmark]), gains[:, -1])
    return cells


def departures(loaded: LoadedStudy) -> list[str]:
    """In what a study with given settings departs from the protocol of the paper's numbers."""
    study = loaded.study
    papers = [paper for name in loaded.benchmarks if (paper := paper_study(name))]
    if not papers:
        return []
    protocol = {
        "iterations_per_task": (None,),
        "eval_every": (1,),
        "eval_examples": (None,),
        "eval_precision": ("float32", "mixed"),
        "variant": ("joint",),
        "seeds": tuple(paper["seeds"] for paper in papers),
    }
    found = {
        key: value for key, usual in protocol.items() if (value := getattr(study, key)) not in usual
    }
    for paper in papers:
        for method, settings in (study.settings or {}).items():
            usual = paper["settings"].get(method, settings)
            found |= {
                f"{method}.{name}": settings.get(name)
                for name in (*settings, *usual)
                if settings.get(name) != usual.get(name)
            }
    return [f"{key} = {value}" for key, value in found.items()]


def comparison_rows(loaded: LoadedStudy, cells: list[Cell]) -> list[dict[str, str]]:
    """The comparison as people read it; ``≠`` marks what lies outside the spread."""
    return [
        {
            "Benchmark": loaded.benchmark_title(cell.benchmark),
            "Method": loaded.method_title(cell.method) + _left_out(cell),
            "Quantity": cell.quantity,
            "Published": _spelled(*cell.published) if cell.published else "–",
            "Here": _spelled(cell.ours, cell.our_sd),
            "": "≠" if cell.outside else "",
        }
        for cell in cells
    ]


def _left_out(cell: Cell) -> str:
    """How many seeds the value is without, if without any."""
    seeds = cell.seeds + cell.diverged + cell.lost
    said = []
    if cell.diverged:
        said.append(f"{cell.diverged} of {counted(seeds, 'seed')} diverged")
    if cell.lost:
        said.append(f"{cell.lost} of {counted(seeds, 'seed')} not all there")
    return f" ({', '.join(said)})" if said else ""


def _spelled(mean: float, sd: float | None) -> str:
    if np.isnan(mean):
        return "–"
    return number(mean) + (f" ± {sd:.3f}" if sd is not None else "")


def _first_task_curves(
    loaded: LoadedStudy, trial_id: str, runs: pl.DataFrame
) -> list[AccuracyCurves]:
    """First-task accuracy of the seeds of a trial whose curves are all there, in columns of tasks.

    The other tasks' columns are left NaN. A curve is all there that ends with its run and has as
    many evaluations as any.
    """
    last = dict(runs.select("seed", "iterations").iter_rows())
    rows = pl.DataFrame(loaded.results.read("curves", [trial_id])).filter(
        pl.col("eval_task") == 0, pl.col("seed").is_in([*last])
    )
    by_seed = rows.sort("iteration").partition_by("seed", as_dict=True, maintain_order=True)
    most = max((each.height for each in by_seed.values()), default=0)
    curves = []
    for (seed,), each in sorted(by_seed.items()):
        if each.height < most or each["iteration"][-1] != last[seed]:
            continue
        ends = each.group_by("task").agg(pl.col("iteration").max()).sort("task")["iteration"]
        accuracy = np.full((each.height, len(ends)), np.nan)
        accuracy[:, 0] = each["accuracy"].to_numpy()
        curves.append(AccuracyCurves(each["iteration"].to_numpy(), accuracy, ends.to_numpy()))
    return curves


def _mean_curve(curves: list[AccuracyCurves]) -> AccuracyCurves:
    accuracy = np.mean([curve.accuracy for curve in curves], axis=0)
    return AccuracyCurves(curves[0].iterations, accuracy, curves[0].task_ends)


def _gains(
    loaded: LoadedStudy, trial_id: str, runs: pl.DataFrame, task_ends: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Gain of the seeds of a trial whose steps are all there, shape (seeds, K + 1).

    At the end of each of the K tasks, and last its peak.
    """
    steps = pl.DataFrame(loaded.results.read("steps", [trial_id])).sort("iteration")
    steps = steps.filter(pl.col("seed").is_in(runs["seed"].to_list()))
    rows = []
    for _, seed in steps.group_by("seed", maintain_order=True):
        gain = seed["gain"].cast(pl.Float64).to_numpy()
        if len(gain) == task_ends[-1]:
            rows.append([*gain[task_ends - 1], gain.max()])
    return np.array(rows).reshape(-1, len(task_ends) + 1)
