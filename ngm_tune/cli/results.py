"""Commands on results: ``ngm-tune analyze``, ``doctor`` and ``defaults``."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from ngm_tune.cli.app import app
from ngm_tune.cli.terminal import (
    MethodsOption,
    ResultsArgument,
    SelectOption,
    console,
    print_table,
    use_methods,
)
from ngm_tune.errors import printable
from ngm_tune.messages import counted


@app.command(
    epilog="Examples:\n\n"
    "`ngm-tune analyze results/quickstart`\n\n"
    "`ngm-tune analyze results/digits results/my-method --output report`"
)
def analyze(
    results: Annotated[
        list[str],
        typer.Argument(
            metavar="RESULTS",
            help="Results directories of `ngm-tune run`. Several are joined: they hold different "
            "methods or benchmarks of the same protocol.",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="The folder of the report. Several results directories need it.",
            show_default="RESULTS/report",
        ),
    ] = None,
    select: SelectOption = "knee",
    images: Annotated[
        bool,
        typer.Option(
            "--images/--no-images",
            help="Write the charts as PNG and SVG files, which takes most of the time.",
        ),
    ] = True,
) -> None:
    """Write the report: one HTML page, with its charts and tables as separate files."""
    from ngm_tune.analysis import write_report

    report = write_report(results, output, select, images=images)
    if report.published:
        print_table(tuple(report.published[0]), [row.values() for row in report.published])
        if report.departures:
            console.print(f"Not the paper's protocol: {', '.join(report.departures)}.")
    for name, reason in report.left_out.items():
        console.print(printable(f"Left out: {name}: {reason}"))
    for location in results:
        if any(len(results) == 1 or name.startswith(f"{location}/") for name in report.left_out):
            console.print(f"`ngm-tune doctor {quote(location)}` repairs damaged results.")
    console.print(printable(f"Report: {report.page}"))


@app.command(epilog="Example:\n\n`ngm-tune doctor results/quickstart`")
def doctor(
    results: ResultsArgument,
    look: Annotated[
        bool, typer.Option("--look", help="Report problems without repairing them.")
    ] = False,
    methods: MethodsOption = None,
) -> None:
    """Find and repair damage in a results directory. Nothing is deleted.

    Exit codes: 0 if no damage remains, 1 otherwise.
    """
    from ngm_tune.workspace.doctor import examine

    use_methods(methods)
    findings = examine(results, repair=not look)
    for finding in findings:
        console.print(printable(f"{finding.name}: {finding.description}"))
        if finding.repair is not None:
            console.print(f"    {printable(finding.repair)}")
    problems = [finding for finding in findings if finding.kind != "note"]
    remaining = sum(finding.repair is None for finding in problems)
    if not problems:
        console.print(f"{results}: nothing is damaged")
    else:
        repaired = len(problems) - remaining
        console.print(f"{results}: {counted(len(problems), 'problem')}, {repaired} repaired")
    if remaining:
        raise typer.Exit(1)


@app.command(
    epilog="Examples:\n\n"
    "`ngm-tune defaults results/quickstart`\n\n"
    "`ngm-tune defaults results/quickstart --select 'avg_acc >= 0.94' --output mine.toml`"
)
def defaults(
    results: ResultsArgument,
    select: SelectOption = "knee",
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="The file to write.", show_default="RESULTS/defaults.toml"
        ),
    ] = None,
) -> None:
    """Select one configuration of each method and write its hyper-parameters and provenance.

    The configurations of all repetitions compete, by their search scores. Each has its confirmed
    scores with a 95 % interval, and its regret: the hypervolume that is lost by using it alone.
    A study with `confirm.transfer` also gives settings for a new data set.
    """
    from ngm_tune.analysis import write_defaults

    written = write_defaults(results, output, select)
    explanations = [choice.explanation for choice in written.choices]
    explanations += [choice.explanation for choice in written.new_data]
    for line in (*explanations, *written.missing):
        console.print(line)
    console.print(printable(f"Written to {written.path}"))
