"""The study's answer: the method in question against its best rival.

What is compared is chosen by the search alone, of either method: the configuration with the best
second objective among those whose first is within 0.01 of the best that the search found for any
method (:func:`ngm_tune.metrics.pareto.contender`), which is always confirmed. So the confirmed values of
both are as good as they look, and their difference, paired over seeds, has an interval. What
diverged when it was confirmed counts as the worst, and is said. Without a confirmation, and with
given settings, the same data choose and are reported.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import polars as pl
from scipy import stats

from ngm_tune.metrics.functional import Floats, Metric
from ngm_tune.metrics.pareto import NEAR, are_near, best_in_second, hypervolume

from ..formatting import counted, number, signed
from ..loading import ELIGIBLE, LoadedStudy
from .optimism import by_seed, variance

_CONFIDENCE = 0.95


class Difference(NamedTuple):
    """A mean difference over paired seeds, and its interval; NaN where there is one seed.

    The interval is of these configurations on these test data: it has the spread of seeds in it,
    and neither that of test examples nor that of searches.
    """

    mean: float
    low: float
    high: float

    @property
    def significant(self) -> bool:
        """Whether the interval excludes zero."""
        return self.low > 0.0 or self.high < 0.0

    def __str__(self) -> str:
        if np.isnan(self.low):
            return signed(self.mean)
        return (
            f"{signed(self.mean)}, {_CONFIDENCE:.0%} interval over seeds {signed(self.low)} to "
            f"{signed(self.high)}"
        )


class Standing(NamedTuple):
    """A method's configuration that is compared with those of others.

    Attributes:
        method: The method.
        trial_id: The trial that its figures are of.
        known: Its objectives as what chose it knew them, shape (M,).
        reached: Its objectives, means over seeds, shape (M,).
        sd: Their standard deviations over seeds; NaN for one seed.
        diverged: Seeds with which it diverged.
        feasible: Whether it keeps the study's constraints.
    """

    method: str
    trial_id: str
    known: Floats
    reached: Floats
    sd: Floats
    diverged: int
    feasible: bool


def standings(loaded: LoadedStudy, benchmark: str) -> dict[str, Standing]:
    """The configuration to compare of each method that has one, near enough to the best."""
    return _standings(loaded, benchmark, near=True)


def compared(loaded: LoadedStudy, benchmark: str) -> list[Standing]:
    """What the answer is about: the study's first method and its best rival, if they are near."""
    there = standings(loaded, benchmark)
    mine = there.pop(loaded.study.methods[0], None)
    rivals = sorted(there.values(), key=_second(loaded))
    return [standing for standing in (mine, *rivals[:1]) if standing is not None]


def _second(loaded: LoadedStudy) -> Callable[[Standing], float]:
    """What chooses among standings: their second objective, to be minimised."""
    sign = loaded.objectives[1].sign
    return lambda standing: float(standing.known[1] * sign)


def _standings(loaded: LoadedStudy, benchmark: str, *, near: bool) -> dict[str, Standing]:
    """By method, the best configuration in the second objective near the best first one, or not."""
    objectives, names = loaded.objectives, [metric.name for metric in loaded.objectives]
    trials = _candidates(loaded, benchmark)
    if not trials.height or len(names) < 2:
        return {}
    known = trials.select(pl.col(f"known_{name}") for name in names).to_numpy()
    wanted = are_near(known, objectives, _best_first(loaded, benchmark)) == near
    found = {}
    for method in loaded.methods:
        rows = np.flatnonzero(wanted & (trials["method"] == method).to_numpy())
        if len(rows):
            row = int(rows[best_in_second(known[rows], objectives)])
            trial_id = trials["trial_id"][row]
            found[method] = Standing(
                method,
                trial_id,
                known[row],
                trials[row].select(names).to_numpy()[0],
                trials[row].select(f"{name}_sd" for name in names).to_numpy()[0],
                loaded.runs.filter(trial_id=trial_id, status="diverged").height,
                trials["feasible"][row],
            )
    return found


def _best_first(loaded: LoadedStudy, benchmark: str) -> float:
    """The best first objective of any method, as what chose knew it."""
    first = loaded.objectives[0]
    return first.best_among(loaded.tried(benchmark).filter(ELIGIBLE)[first.name].drop_nulls())


def _candidates(loaded: LoadedStudy, benchmark: str) -> pl.DataFrame:
    """What claims can be about, with what chooses among it in columns ``known_*``."""
    names = [metric.name for metric in loaded.objectives]
    trials = loaded.of(benchmark).drop_nulls(names)
    if loaded.given or not loaded.is_confirmed(benchmark):
        whole = trials.filter(ELIGIBLE)
        return whole.with_columns(pl.col(name).alias(f"known_{name}") for name in names)
    search = loaded.searched(benchmark).select(
        pl.col("trial_id").alias("origin"), *(pl.col(n).alias(f"known_{n}") for n in names)
    )
    return trials.join(search, on="origin", how="inner", maintain_order="left")


def difference(loaded: LoadedStudy, one: str, other: str) -> list[Difference]:
    """By how much one trial exceeds another, for every objective, over the same seeds."""
    values = by_seed(loaded, pl.Series([one, other]))
    apart = values[0] - values[1]
    apart = apart[np.isfinite(apart).all(axis=1)]
    means = apart.mean(axis=0)
    errors = np.full_like(means, np.nan)
    if len(apart) > 1:
        quantile = stats.t.ppf((1.0 + _CONFIDENCE) / 2.0, len(apart) - 1)
        errors = quantile * stats.sem(apart, axis=0)
    return [
        Difference(float(mean), float(mean - error), float(mean + error))
        for mean, error in zip(means, errors, strict=True)
    ]


def findings(loaded: LoadedStudy) -> list[str]:
    """The study's answer, some sentences per benchmark; its first method is the one in question."""
    if len(loaded.objectives) < 2:
        return []
    return [
        f"{loaded.benchmark_title(name)}: {_answer(loaded, name)}{_volumes(loaded, name)}"
        for name in loaded.benchmarks
    ]


def _answer(loaded: LoadedStudy, benchmark: str) -> str:
    first = loaded.objectives[0]
    there = compared(loaded, benchmark)
    focus, *rivals = loaded.study.methods
    run = _run(loaded, benchmark)
    left = f"{_without_front(loaded, benchmark)}{_failed_again(loaded, benchmark)}"
    if not there:
        lost = loaded.tried(benchmark).filter(ELIGIBLE).height
        what = "nothing is left to compare" if lost else "no trial could be on a front"
        return f"{what}.{left}{_not_run(loaded, {focus, *rivals} - run)}"
    searched = "" if loaded.given else " that the search found"
    near = f"within {NEAR:g} of the best {first.title.lower()}{searched}"
    reached = _reached(loaded, benchmark, there[0])
    name = loaded.method_title(there[0].method)
    if len(there) == 2:
        said = _comparison(loaded, benchmark, there[0], there[1], near)
    elif there[0].method != focus:
        missed = f"does not come {near}" if focus in run else "has not been run"
        does = "does, with" if focus in run else "has"
        said = f"{loaded.method_title(focus)} {missed}. {name} {does} {reached}."
    elif run.isdisjoint(rivals):
        said = f"no rival has been run. {name} has {reached}."
    else:
        said = f"no rival comes {near}. {name} does, with {reached}."
    if len(there) == 1:
        said += _caveat(name, there[0])
    return said + _farther(loaded, benchmark, there) + left + _not_run(loaded, {*rivals} - run)


def _reached(loaded: LoadedStudy, benchmark: str, standing: Standing) -> str:
    first, second = loaded.objectives[:2]
    seeds = " (one seed)" if np.isnan(standing.sd[1]) else ""
    return (
        f"{_article(second)} of {number(standing.reached[1])}, at {_article(first)} of "
        f"{number(standing.reached[0])}, {_where(loaded, benchmark)}{seeds}"
    )


def _comparison(
    loaded: LoadedStudy, benchmark: str, mine: Standing, other: Standing, near: str
) -> str:
    first, second = loaded.objectives[:2]
    name, rival = (loaded.method_title(standing.method) for standing in (mine, other))
    apart = difference(loaded, mine.trial_id, other.trial_id)
    return (
        f"{_verdict(name, rival, second, apart[1])}. Both are {near}, where {rival} has the best "
        f"{second.title.lower()} of the rivals. {_where(loaded, benchmark).capitalize()} it is "
        f"{number(mine.reached[1])} for {name} and {number(other.reached[1])} for {rival} "
        f"({apart[1]}), at {_article(first)} of {number(mine.reached[0])} and "
        f"{number(other.reached[0])} ({apart[0]}).{_caveat(name, mine)}{_caveat(rival, other)}"
    )


def _farther(loaded: LoadedStudy, benchmark: str, there: list[Standing]) -> str:
    """Of given settings, which has a better second objective yet, at what price in the first.

    Nothing of one that the seeds do not tell apart from the better of those that are near.
    """
    first, second = loaded.objectives[:2]
    key = _second(loaded)
    others = sorted(_standings(loaded, benchmark, near=False).values(), key=key)
    if not loaded.given or not others or key(others[0]) >= min(map(key, there)):
        return ""
    best, nearest = others[0], min(there, key=key)
    apart = difference(loaded, best.trial_id, nearest.trial_id)[1]
    if not np.isnan(apart.low) and not apart.significant:
        return ""
    seeds = "with the one seed" if np.isnan(apart.low) else str(apart)
    return (
        f" {loaded.method_title(best.method)}, which is not near it, has a better "
        f"{second.title.lower()} than {loaded.method_title(nearest.method)} ({seeds}): "
        f"{number(best.reached[1])}, at {_article(first)} of {number(best.reached[0])}."
    )


def _without_front(loaded: LoadedStudy, benchmark: str) -> str:
    """The methods none of whose trials could be on a front, and how these ended."""
    said = ""
    for method in loaded.methods:
        trials = loaded.tried(benchmark, method)
        if trials.height and not trials.filter(ELIGIBLE).height:
            ended = trials["status"].replace("completed", "outside of the constraints")
            counts = Counter(ended).most_common()
            how = ", ".join(f"{count} {status}" for status, count in counts)
            said += f" No trial of {loaded.method_title(method)} could be on a front ({how})."
    return said


def _failed_again(loaded: LoadedStudy, benchmark: str) -> str:
    """The methods with configurations that failed when they were run again."""
    if loaded.given or not loaded.is_confirmed(benchmark):
        return ""
    failed = loaded.confirmed_of(benchmark).filter(status="failed")
    counts = ((m, failed.filter(method=m).height) for m in loaded.methods)
    said = "; ".join(f"{count} of {loaded.method_title(m)}" for m, count in counts if count)
    return f" Configurations that failed when they were run again: {said}." if said else ""


def _not_run(loaded: LoadedStudy, methods: set[str]) -> str:
    titles = [loaded.method_title(m) for m in loaded.study.methods if m in methods]
    return f" Not run yet: {'; '.join(titles)}." if titles else ""


def _run(loaded: LoadedStudy, benchmark: str) -> set[str]:
    """Methods that have trials on a benchmark."""
    trials = (loaded.searched(benchmark), loaded.confirmed_of(benchmark))
    return {method for each in trials for method in each["method"]}


def _caveat(name: str, standing: Standing) -> str:
    """What a person should know who reads the figures."""
    said = ""
    if standing.diverged:
        seeds = counted(standing.diverged, "seed")
        said += f" {name} diverged with {seeds} there, which counts as the worst."
    if not standing.feasible:
        said += f" {name} does not keep the study's constraints there."
    return said


def _verdict(name: str, rival: str, metric: Metric, apart: Difference) -> str:
    what = metric.title.lower()
    if np.isnan(apart.low):
        return f"of {name} and {rival} one seed does not tell which has the better {what}"
    if not apart.significant:
        return f"{name} and {rival} are not told apart in {what}"
    return f"{name} has a {'larger' if apart.mean > 0 else 'smaller'} {what} than {rival}"


def _article(metric: Metric) -> str:
    title = metric.title.lower()
    return f"{'an' if title[0] in 'aeio' else 'a'} {title}"


def _where(loaded: LoadedStudy, benchmark: str) -> str:
    if loaded.is_confirmed(benchmark):
        return "on test data"
    return "on the validation data that chose them (not confirmed)"


def _volumes(loaded: LoadedStudy, benchmark: str) -> str:
    """The hypervolume of each method's trials, with their standard errors where known."""
    objectives, reference = loaded.objectives, loaded.study.reference_point
    confirmed = loaded.is_confirmed(benchmark)

    def volume(values: Floats) -> Floats:
        return np.array([hypervolume(values, objectives, reference)])

    found = []
    candidates = _candidates(loaded, benchmark).filter(ELIGIBLE)
    for method in loaded.methods:
        trials = candidates.filter(method=method)
        if not trials.height:
            continue
        values = by_seed(loaded, trials["trial_id"])
        error = float(np.sqrt(variance(values, volume)[0])) if confirmed else float("nan")
        spelled = "" if np.isnan(error) else f" ± {error:.3f}"
        reached = float(volume(np.nanmean(values, axis=1))[0])
        found.append((reached, f"{loaded.method_title(method)} {reached:.3f}{spelled}"))
    ranking = "; ".join(text for _, text in sorted(found, key=lambda entry: -entry[0]))
    said = " (± standard error over seeds)" if " ± " in ranking else ""
    return f" Hypervolume{said}: {ranking}." if found else ""
