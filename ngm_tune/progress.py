"""What a running study looks like in a terminal."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ngm_tune.methods import get_method
from ngm_tune.pareto import hypervolume
from ngm_tune.search import Arm
from ngm_tune.study import Study


@contextmanager
def progress_display(console: Console, study: Study, arms: list[Arm]) -> Iterator[None]:
    """Show trials done, best trade-offs and time left while the context lasts.

    Nothing is shown where ``console`` is no terminal.
    """
    if not console.is_terminal:
        yield
        return
    started = time.monotonic()
    done_before = sum(len(arm.outcomes) for arm in arms)

    def render() -> RenderableType:
        elapsed = time.monotonic() - started
        return Group(standing(study, arms), _clock(arms, done_before, elapsed))

    with Live(get_renderable=render, console=console, refresh_per_second=2):
        yield


def standing(study: Study, arms: list[Arm]) -> Table:
    """A table of the arms: trials finished, and the best that they found."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    several = len(study.benchmarks) > 1
    if several:
        table.add_column("benchmark")
    table.add_column("method")
    table.add_column("", width=16)
    table.add_column("trials", justify="right")
    for metric in study.objective_metrics:
        best = "highest" if metric.direction == "maximize" else "lowest"
        table.add_column(f"{best} {metric.title.lower()}", justify="right")
    if len(study.objectives) > 1:
        table.add_column("hypervolume", justify="right")
    former = None
    for arm in arms:
        outcomes = arm.outcomes
        values = [o.values for o in outcomes if o.values is not None and o.status == "completed"]
        row: list[RenderableType] = [
            get_method(arm.method.name).title,
            ProgressBar(total=arm.trials, completed=len(outcomes), width=16),
            f"{len(outcomes)}/{arm.trials}",
        ]
        for column, metric in enumerate(study.objective_metrics):
            choose = max if metric.direction == "maximize" else min
            row.append(f"{choose(v[column] for v in values):.3f}" if values else "–")
        if len(study.objectives) > 1:
            volume = hypervolume(values, study.objective_metrics, study.reference_point)
            row.append(f"{volume:.3f}" if values else "–")
        if several:
            row.insert(0, arm.benchmark if arm.benchmark != former else "")
            former = arm.benchmark
        table.add_row(*row)
    return table


def _clock(arms: list[Arm], done_before: int, elapsed: float) -> Text:
    total = sum(arm.trials for arm in arms)
    done = sum(len(arm.outcomes) for arm in arms)
    left = "?"
    if done > done_before:
        left = _duration(elapsed / (done - done_before) * (total - done))
    return Text(f"{done} of {total} trials, {_duration(elapsed)} elapsed, {left} left", style="dim")


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
