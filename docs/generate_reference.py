"""MkDocs hooks: write the reference pages from the code, so that they cannot disagree with it.

MkDocs calls :func:`on_files` and :func:`on_page_content`. Each entry of :data:`PAGES` is a function
that returns a page.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import typer
from typer.cli import get_docs_for_click
from typer.main import get_command

from ngm_tune.benchmarks import BENCHMARKS
from ngm_tune.cli import app
from ngm_tune.methods import Method, get_method, methods
from ngm_tune.methods.named_spaces import NAMED_SPACES
from ngm_tune.metrics.registry import METRICS
from ngm_tune.results.schema import KEYS, SCHEMA_VERSION, SCHEMAS
from ngm_tune.study.study import Study

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

COLUMNS = {
    "study": "Name of the study.",
    "benchmark": "Name of the benchmark.",
    "method": "Name of the method.",
    "repetition": "Repetition of the search, from 0.",
    "trial_id": "Trial, such as `split-digits.ngm-sgd.0007`; confirmations end in `.confirm`, "
    "transfers in `.from-` and the benchmark of the search.",
    "seed": "Seed of the run.",
    "phase": "`search` (validation data), `confirm` (test data), or `transfer` (test data, with a "
    "configuration that was selected on another benchmark).",
    "status": "`completed`, `diverged`, `failed` or, in results of earlier versions, `stopped`.",
    "iterations": "Training iterations of the run.",
    "diverged_at": "Iteration at which the run diverged; null if it did not.",
    "wall_seconds": "Seconds of training and evaluation.",
    "node": "Machine that ran the trial.",
    "task": "Task that is being trained, counted from 0.",
    "eval_task": "Task that is evaluated, counted from 0.",
    "iteration": "Iteration, counted from 1 over the whole run.",
    "accuracy": "Accuracy on `eval_task`, a fraction.",
    "loss": "Mean cross-entropy of the batch, in nats.",
    "examples": "Number of examples of `eval_task` that were evaluated; null in older files.",
    "entropy": "Mean predictive entropy of the batch, in nats.",
    "gain": "Gain of the training pass; null for methods without a gain.",
    "quantity": "Name of the measured quantity.",
    "value": "Value of the measured quantity.",
    "family": "Kind of network.",
    "depth": "Number of layers or blocks.",
    "width": "Number of hidden units or channels.",
    "parameters": "Number of parameters.",
    "time_ratio": "Time of a training step divided by that of SGD, median over rounds.",
    "time_low": "Lower quartile of `time_ratio`.",
    "time_high": "Upper quartile of `time_ratio`.",
    "seconds": "Seconds of a training step.",
    "memory_ratio": "`bytes` divided by those of SGD.",
    "bytes": "Peak bytes of parameters, gradients, optimizer state and stored activations.",
}
"""Meaning of the columns of the results; metrics have theirs in :data:`METRICS`."""

COLUMNS_OF = {
    "tasks": {"task": "Last task that the metrics include, counted from 0."},
    "curves": {"loss": "Mean cross-entropy on `eval_task`, in nats."},
}
"""Columns whose meaning differs between tables."""

TABLES = {
    "trials": "One row for each run. Beside the columns below, `config_*` columns hold the "
    "hyper-parameters and `search_*` columns the search coordinates: numbers as double, with true "
    "and false as 1 and 0, and other values as text in columns that end in `_text`.",
    "tasks": "One row for each run and task. Each metric is computed as if `task` were the last.",
    "curves": "One row for each evaluation of a task.",
    "steps": "One row for each training iteration.",
    "probes": "One row for each probe; only in studies with `probes`.",
    "costs": "One row for each method and network; only in studies with `cost = true`.",
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages to the site."""
    from mkdocs.structure.files import File

    for path, page in PAGES.items():
        files.append(File.generated(config, path, content=page()))
    return files


def on_page_content(html: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Remove the reStructuredText of docstrings, which mkdocstrings copies into the page."""
    html = re.sub(r":\w+:<code>~?(?:[\w.]+\.)?(\w+)</code>", r"<code>\1</code>", html)
    return re.sub(r"::</p>(?=\s*<(?:pre|div class=\"(?:\w+ )*highlight))", ":</p>", html)


def study_page() -> str:
    """Every key of a study file, with its type, default and meaning."""
    schema = Study.model_json_schema()
    required = schema["required"]
    lines = [
        "# Study keys",
        "",
        "A study is a TOML file. `ngm-tune run` validates it, and reports the first error with the "
        "name of the file, the key and the value. `--set KEY=VALUE` replaces a key on the command "
        "line. The required keys are "
        + ", ".join(f"`{key}`" for key in required if key != "name")
        + ".",
        "",
        *_keys(schema["properties"], required, "##"),
    ]
    for key, prop in schema["properties"].items():
        for name in _referenced(prop):
            table = schema["$defs"][name]
            lines += [
                f"## Table `{key}` {{ #table-{key} }}",
                "",
                _text(table.get("description", "")),
                "",
                *_keys(table["properties"], table.get("required", []), "###", key),
            ]
    return "\n".join(lines)


def _keys(
    properties: Mapping[str, Any], required: Iterable[str], heading: str, table: str = ""
) -> list[str]:
    lines = []
    for key, prop in properties.items():
        full = f"{table}.{key}" if table else key
        facts = [f"**Type:** {_type(prop)}"]
        if full == "name":
            facts.append("**Default:** the name of the file")
        elif key in required:
            facts.append("**required**")
        elif prop.get("default") is None:
            facts.append("**Default:** not set")
        else:
            default = "an empty table" if prop["default"] == {} else f"`{_toml(prop['default'])}`"
            facts.append(f"**Default:** {default}")
        lines += [f"{heading} `{full}` {{ #{full.replace('.', '-')} }}", "", "; ".join(facts), ""]
        lines += [_text(prop.get("description", "")), ""]
        if not table and _referenced(prop):
            lines += [f"Its keys are in [Table `{key}`](#table-{key}).", ""]
    return lines


def _referenced(prop: Mapping[str, Any]) -> list[str]:
    text = json.dumps(prop)
    return re.findall(r"#/\$defs/(\w+)", text)


def _type(prop: Mapping[str, Any], plural: bool = False) -> str:
    ending = "s" if plural else ""
    if "anyOf" in prop:
        parts = [part for part in prop["anyOf"] if part.get("type") != "null"]
        if {part.get("type") for part in parts} == {"boolean", "integer", "number", "string"}:
            return f"value{ending}"  # of any type that TOML has
        either = " or ".join(_type(part) for part in parts)
        return f"({either})" if plural else either
    if "const" in prop or "enum" in prop:
        values = [_toml(value) for value in prop.get("enum", [prop.get("const")])]
        return ("one of " if len(values) > 1 else "") + ", ".join(f"`{value}`" for value in values)
    kind = str(prop.get("type", "object"))
    if kind in ("integer", "number"):
        return f"{kind}{ending} {_bounds(prop)}".strip()
    inner = prop.get("items" if kind == "array" else "additionalProperties")
    name = {"array": "list", "object": "table"}.get(kind, kind) + ending
    return f"{name} of {_type(inner, plural=True)}" if isinstance(inner, dict) else name


def _bounds(prop: Mapping[str, Any]) -> str:
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    return ", ".join(
        f"{sign} {prop[bound]:g}"
        for bound, sign in signs.items()
        if bound in prop and abs(prop[bound]) < 1e6  # larger ones only exclude mistakes
    )


def _toml(value: object) -> str:
    if isinstance(value, dict):
        inner = ", ".join(f"{k} = {_toml(v)}" for k, v in value.items() if v is not None)
        return f"{{ {inner} }}"
    return json.dumps(value)


def _text(description: str) -> str:
    """Markdown of a docstring: without the roles of reStructuredText."""
    plain = re.sub(r":\w+:`~?(?:[\w.]+\.)?(\w+)`", r"`\1`", description)
    return plain.replace("``", "`")


def cli_page() -> str:
    """The command line, as Typer documents it."""
    command = get_command(app)
    context = typer.Context(command, info_name="ngm-tune")
    text = get_docs_for_click(obj=command, ctx=context, name="ngm-tune", title="Command line")
    return re.sub(r"\n\* `--(install|show)-completion`.*", "", text)


def methods_page() -> str:
    """The methods and their search spaces."""
    lines = [
        "# Methods",
        "",
        "Put these names into `methods` of a study. [Compare your own optimizer]"
        "(../tutorials/own-optimizer.md) adds a method. A *task-aware* method receives the task "
        "boundaries or the tasks of the examples, which the other methods do not. Methods whose "
        "name ends in `-oracle` are upper bounds: real applications rarely know the boundaries.",
        "",
    ]
    by_name = [get_method(name) for name in NAMED_SPACES]
    for method in [*methods().values(), *by_name]:
        if by_name and method is by_name[0]:
            lines += [
                "## Optimizers by name",
                "",
                "Any optimizer of `torch.optim` and `pytorch_optimizer` is a method, too: see "
                "[Optimizers by name](../tutorials/own-optimizer.md#optimizers-by-name). These "
                "have a search space of their own.",
                "",
            ]
        hyperparameters = ", ".join(f"`{name}`" for name in method.hyperparameters)
        lines += [
            f"## `{method.name}`",
            "",
            f"**{method.title}**. Source: {method.source}."
            + (" Task-aware." if method.task_aware else ""),
            "",
            f"Hyper-parameters (`config_*` columns): {hyperparameters}.",
            "",
            *_references(method),
            "| search coordinate | range | scale |",
            "| --- | --- | --- |",
        ]
        lines += [
            f"| `{name}` | {_range(distribution)} | {_scale(distribution)} |"
            for name, distribution in method.space.items()
        ]
        lines.append("")
    return "\n".join(lines)


def _references(method: Method) -> list[str]:
    """The methods of which a method is an ablation, and its default settings."""
    lines = []
    if method.ablation_of:
        names = ", ".join(f"`{name}`" for name in method.ablation_of)
        lines += [f"Ablation or control of {names}.", ""]
    if method.default is not None:
        values = ", ".join(f"`{name} = {value}`" for name, value in method.default.items())
        lines += [f"Default settings: {values} ({method.default_source}).", ""]
    return lines


def _range(distribution: Any) -> str:
    if hasattr(distribution, "choices"):
        return ", ".join(f"`{choice}`" for choice in distribution.choices)
    return f"{distribution.low:g} to {distribution.high:g}"


def _scale(distribution: Any) -> str:
    if hasattr(distribution, "choices"):
        return "categorical"
    kind = "integer, " if isinstance(distribution.low, int) else ""
    return kind + ("logarithmic" if distribution.log else "linear")


def benchmarks_page() -> str:
    """The benchmarks."""
    lines = [
        "# Benchmarks",
        "",
        "Put these names into `benchmarks` of a study. `ngm-tune data BENCHMARK` finds or "
        "downloads the data of a benchmark and verifies it. The digits come with scikit-learn "
        "and need no download. The benchmark `custom` takes your own images; its keys are in "
        "[Table `custom`](study.md#table-custom).",
        "",
        "| benchmark | kind | tasks | classes | batch size | iterations per task |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| `{b.name}` | {b.kind} | {b.tasks} | {b.classes} | {b.batch_size} "
        f"| {b.iterations_per_task} |"
        for b in BENCHMARKS.values()
    ]
    return "\n".join(lines)


def metrics_page() -> str:
    """The metrics, and the documentation of their functions."""
    lines = [
        "# Metrics",
        "",
        "All metrics of a run are columns of `trials/` and, after each task, of `tasks/`. A metric "
        "with a worst value can be an objective of a study: a run that diverges receives the worst "
        "value. Sources: [NGM] arXiv 2507.14056; [CE] De Lange et al., ICLR 2023; [RW] Chaudhry "
        "et al., ECCV 2018; [MER] Riemer et al., ICLR 2019.",
        "",
        "| metric | title | better | ideal | worst | unit | source |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for metric in METRICS.values():
        better = "higher" if metric.direction == "maximize" else "lower"
        worst = "–" if metric.worst is None else f"{metric.worst:g}"
        lines.append(
            f"| `{metric.name}` | {metric.title} | {better} | {metric.best:g} | {worst} "
            f"| {metric.unit} | {metric.source} |"
        )
    lines += ["", "## Definitions", "", "::: ngm_tune.metrics.functional", "    options:"]
    lines += ["      show_root_heading: false", "      show_root_toc_entry: false"]
    lines += ["      filters: ['!^_', '!^METRICS$', '!^Floats$', '!^Ints$', '!^Metric$']"]
    return "\n".join(lines)


def results_page() -> str:
    """The files of a results directory, with their columns."""
    lines = ["# Results on disk", "", '--8<-- "reference/_results-directory.md"', ""]
    lines += [f"## Tables of schema version {SCHEMA_VERSION}", ""]
    for table, schema in SCHEMAS.items():
        key = ", ".join(f"`{name}`" for name in KEYS[table])
        lines += [
            f"### `{table}/*.parquet`",
            "",
            f"{TABLES[table]} Primary key: {key}.",
            "",
            "| column | type | meaning |",
            "| --- | --- | --- |",
        ]
        meaning = COLUMNS | COLUMNS_OF.get(table, {})
        lines += [
            f"| `{column.name}` | {column.type} | {meaning[column.name]} |"
            for column in schema
            if column.name not in METRICS
        ]
        if table in ("trials", "tasks"):
            lines.append("| *metrics* | double | One column for each [metric](metrics.md). |")
        lines.append("")
    return "\n".join(lines)


def api_page() -> str:
    """The public Python API."""
    sections = {
        "The optimizer": ("ngm_tune.optim.NGMSGD", "ngm_tune.optim.attach_gain"),
        "Methods": ("ngm_tune.methods.Method", "ngm_tune.methods.get_method"),
        "Learners": (
            "ngm_tune.learners.Learner",
            "ngm_tune.learners.learner.Batch",
            "ngm_tune.learners.learner.Step",
        ),
        "Reports": (
            "ngm_tune.analysis.write_report",
            "ngm_tune.analysis.Report",
            "ngm_tune.analysis.write_defaults",
            "ngm_tune.analysis.Choice",
        ),
    }
    if find_spec("ngm_tune.testing") is not None:
        sections["Conformance tests"] = (
            "ngm_tune.testing.MethodTestCase",
            "ngm_tune.testing.BenchmarkTestCase",
        )
    lines = ["# Python API", ""]
    for title, names in sections.items():
        lines += [f"## {title}", ""]
        for name in names:
            lines += [f"::: {name}", ""]
    return "\n".join(lines)


PAGES: dict[str, Callable[[], str]] = {
    "reference/study.md": study_page,
    "reference/cli.md": cli_page,
    "reference/methods.md": methods_page,
    "reference/benchmarks.md": benchmarks_page,
    "reference/metrics.md": metrics_page,
    "reference/results.md": results_page,
    "reference/api.md": api_page,
}
