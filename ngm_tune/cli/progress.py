"""Live display of a running study in a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import (
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress_bar import ProgressBar
from rich.table import Table

from ngm_tune.execution.summary import MethodState, method_states
from ngm_tune.search.fixed_runs import RunSource
from ngm_tune.study.study import Study

_ESTIMATE_SECONDS = 3600.0
"""The remaining time is estimated from the runs that ended within this time."""


@contextmanager
def progress_display(
    console: Console, study: Study, sources: Sequence[RunSource]
) -> Iterator[None]:
    """Display ended runs, knee points and the remaining time within the context.

    Display nothing if ``console`` is not a terminal.
    """
    if not console.is_terminal:
        yield
        return
    clock = Progress(
        MofNCompleteColumn(),
        TextColumn("runs,"),
        TimeElapsedColumn(),
        TextColumn("elapsed,"),
        TimeRemainingColumn(elapsed_when_finished=False),
        TextColumn("left"),
        speed_estimate_period=_ESTIMATE_SECONDS,
    )
    runs = clock.add_task("")

    def render() -> RenderableType:
        done = sum(len(source.outcomes) for source in sources)
        if done != clock.tasks[runs].completed:
            clock.update(runs, completed=done)
        clock.update(runs, total=sum(source.total for source in sources))
        return Group(state_table(study, method_states(study, sources)), clock)

    with Live(get_renderable=render, console=console, refresh_per_second=2):
        yield


def state_table(study: Study, methods: Sequence[MethodState]) -> Table:
    """Return a table with the ended runs and the knee of the front of each method."""
    several = len(study.benchmarks) > 1
    confirms = any(state.confirmed is not None for state in methods)
    transfers = any(state.transferred is not None for state in methods)
    table = Table(box=None, pad_edge=False, header_style="dim")
    if several:
        table.add_column("benchmark", no_wrap=True)
    table.add_column("method", no_wrap=True)
    table.add_column("", width=16)
    table.add_column("trials", justify="right")
    if confirms:
        table.add_column("confirmed", justify="right")
    if transfers:
        table.add_column("transferred", justify="right")
    for metric in study.objective_metrics:
        table.add_column(metric.title.lower(), justify="right")
    table.add_column("hypervolume", justify="right")
    previous = None
    for state in methods:
        row: list[RenderableType] = [
            state.title,
            ProgressBar(total=state.total, completed=state.done, width=16),
            f"{state.done}/{state.total}",
        ]
        if confirms:
            done, total = state.confirmed or (0, 0)
            row.append(f"{done}/{total}")
        if transfers:
            done, total = state.transferred or (0, 0)
            row.append(f"{done}/{total}")
        if state.knee is not None:
            row += [f"{value:.3f}" for value in (*state.knee, state.hypervolume)]
        if several:
            row.insert(0, state.benchmark if state.benchmark != previous else "")
            previous = state.benchmark
        table.add_row(*row)
    table.caption = "values at the knee, the point of the front nearest to the ideal" + (
        ", on validation data" if study.settings is None else ""
    )
    table.caption_justify = "left"
    return table
