"""Study files: valid keys and values, and the messages for invalid ones."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from optuna.distributions import FloatDistribution, IntDistribution

from ngm_tune.errors import UserError
from ngm_tune.methods import get_method
from ngm_tune.study.files import load_study, validate_study
from ngm_tune.study.plan import StudyPlan
from ngm_tune.study.shipped import shipped_names
from ngm_tune.study.study import Study
from ngm_tune.study.warnings import warn_of_a_sampler_without_effect
from tests.helpers.searches import a_study

MINIMAL = """
title = "A study"
benchmarks = ["split-digits"]
methods = ["sgd", "adam"]
trials = 4
reference_point = { avg_acc = 0.1, avg_sg = 1 }
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(MINIMAL)
    return path


def test_omitted_keys_have_defaults(file: Path) -> None:
    study = load_study(str(file))
    assert study.name == "mine"
    assert study.objectives == ["avg_acc", "avg_sg"]
    assert (study.searches, study.seeds) == (5, 1)
    assert (study.split, study.class_order) == ("drawn", None)
    assert (study.sampler, study.eval_every) == ("tpe", 1)
    assert StudyPlan.resolve(study).iterations("split-digits") == 200
    assert StudyPlan.resolve(study).hyperparameters == {"lr": "float"}
    assert (study.strategy, study.eval_precision, study.probes) == ("joint", "float32", [])
    assert (study.confirm.max_configurations, study.confirm.seeds) == (8, 2)
    assert StudyPlan.resolve(study).spaces["sgd"] == get_method("sgd").space
    assert StudyPlan.resolve(study).points_of("split-digits", "sgd") == []


def test_a_method_takes_the_settings_of_its_benchmark_and_the_study(file: Path) -> None:
    """The paper's settings for ResNets are visible hyper-parameters of the trials."""
    changes = ['methods=["ngm-sgd","sgd"]', 'benchmarks=["split-digits","split-cifar10"]']
    study = load_study(str(file), changes)
    assert StudyPlan.resolve(study).fixed_hyperparameters("split-cifar10", "ngm-sgd") == {
        "layers": "output",
        "backbone_momentum": 0.9,
    }
    assert (
        StudyPlan.resolve(study).fixed_hyperparameters("split-cifar10", "sgd")
        == StudyPlan.resolve(study).fixed_hyperparameters("split-digits", "ngm-sgd")
        == {}
    )
    assert (
        StudyPlan.resolve(study).hyperparameters.items()
        >= {"layers": "str", "backbone_momentum": "float"}.items()
    )
    fixed = load_study(
        str(file), [*changes, "fixed.ngm-sgd={layers='all', normalise_entropy=true}"]
    )
    assert StudyPlan.resolve(fixed).fixed_hyperparameters("split-cifar10", "ngm-sgd") == {
        "layers": "all",
        "backbone_momentum": 0.9,
        "normalise_entropy": True,
    }
    assert StudyPlan.resolve(fixed).hyperparameters["normalise_entropy"] == "float and str"


def test_layer_names_must_exist_in_every_network_of_the_study(file: Path) -> None:
    changes = ["methods=['ngm-sgd']", "fixed.ngm-sgd.output='5'"]
    load_study(str(file), [*changes, "benchmarks=['split-digits']"])
    cifar = ["reference_point.avg_acc=0.05", "fixed.ngm-sgd.output=head"]
    load_study(str(file), [*changes[:1], "benchmarks=['split-cifar10']", *cifar])
    with pytest.raises(UserError, match="'5' on split-cifar10: output names '5', which is no"):
        load_study(str(file), [*changes, "benchmarks=['split-digits', 'split-cifar10']"])
    tables = ["benchmarks=['custom']", "custom.path=x", "custom.tasks=2"]
    load_study(str(file), [*changes[:1], "fixed.ngm-sgd.output=head", *tables])


def test_overrides_replace_entries_of_the_file(file: Path) -> None:
    changes = ["trials=7", "seeds=[4, 2]", "sampler=nsga2", "reference_point.avg_acc=0.2"]
    study = load_study(str(file), ["searches=1", *changes])
    assert (study.trials, study.seeds, study.sampler) == (7, [4, 2], "nsga2")
    assert study.reference_point == {"avg_acc": 0.2, "avg_sg": 1.0}


def test_ranges_of_a_study_replace_those_of_a_method(file: Path) -> None:
    changes = ['methods=["sgd", "ngm-sgd", "warmup-oracle"]']
    ranges = ["search_space.ngm-sgd.dc_gain=[1, 5]", "search_space.warmup-oracle.warmup=[10, 20]"]
    study = load_study(str(file), [*changes, *ranges])
    space_of_method = get_method("ngm-sgd").space
    assert StudyPlan.resolve(study).spaces["ngm-sgd"] == {
        **space_of_method,
        "dc_gain": FloatDistribution(1, 5, log=True),
    }
    assert StudyPlan.resolve(study).spaces["warmup-oracle"]["warmup"] == IntDistribution(
        10, 20, log=True
    )
    assert StudyPlan.resolve(study).spaces["sgd"] == get_method("sgd").space


def test_fresh_seeds_differ_from_the_seeds_of_the_study(file: Path) -> None:
    study = load_study(str(file), ["searches=1", "seeds=[1001, 7, 1003]", "confirm.seeds=4"])
    assert study.run_seeds.of_confirmation(0) == [1000, 1002, 1004, 1005]
    whole = load_study(str(file), ["seeds=1002", "confirm.seeds=3"]).run_seeds
    assert set(whole.of_confirmation(0)).isdisjoint(whole.of_search(0))
    assert len(set(whole.of_confirmation(0))) == 3


def test_repetitions_exclude_a_list_of_seeds(file: Path) -> None:
    with pytest.raises(UserError, match=r"seeds = \[1, 2\]: with searches = 2 it must be a number"):
        load_study(str(file), ["searches=2", "seeds=[1, 2]"])


def test_repetitions_and_studies_with_different_seeds_have_no_run_in_common(file: Path) -> None:
    most = ["searches=1000", "seeds=10000", "confirm.seeds=10000"]
    seeds = []
    for seed in (0, 1, 4294967295):
        run_seeds = load_study(str(file), [*most, f"seed={seed}"]).run_seeds
        for repetition in (0, 1, 999):
            seeds += [*run_seeds.of_search(repetition), *run_seeds.of_confirmation(repetition)]
    assert len(set(seeds)) == len(seeds) == 9 * 20_000
    assert max(seeds) < 2**63
    assert load_study(str(file), ["seeds=3", "seed=0"]).run_seeds.of_search(0) == [0, 1, 2]
    listed = load_study(str(file), ["searches=1", "seeds=[4, 2]", "seed=5"])
    assert listed.run_seeds.of_search(0) == [4, 2]


def test_search_coordinates_are_not_hyperparameters(file: Path) -> None:
    study = load_study(str(file), ['methods=["ngm-sgd", "warmup-oracle"]'])
    assert StudyPlan.resolve(study).coordinates == {
        "lr": "float",
        "dc_gain": "float",
        "gain_decay": "float",
        "warmup": "float",
    }
    assert "dc_gain" not in StudyPlan.resolve(study).hyperparameters


SEARCH = [
    "seeds=4",
    "search_space.sgd.lr=[0.01, 0.5]",
    "points_to_evaluate=[{method='sgd', lr=0.1},"
    " {method='adam', benchmark='split-digits', lr=0.01}]",
    "constraints=['avg_acc >= 0.5', 'avg_sg <= 0.5']",
    "confirm={max_configurations=2, seeds=3}",
]


def test_a_study_is_unchanged_by_writing_and_reading_it(file: Path) -> None:
    study = load_study(str(file), ["iterations_per_task=50", "searches=1", *SEARCH])
    assert validate_study(tomllib.loads(study.to_toml()), "copy") == study


def test_shipped_studies_are_valid_and_include_the_quickstart() -> None:
    studies = {name: load_study(name) for name in shipped_names()}
    assert {"quickstart", "digits"} <= studies.keys()
    assert all(name == study.name for name, study in studies.items())
    assert "ngm-sgd-frozen-gain" in studies["quickstart"].methods


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("trials=0", "trials = 0: input should be greater than or equal to 1"),
        ("trials=many", "trials = 'many': input should be a valid integer"),
        ("trials=2.5", "trials = 2.5: input should be a valid integer"),
        ("trials=true", "trials = True: input should be a valid integer"),
        ("seeds=0", "seeds = 0: input should be greater than or equal to 1"),
        ("seeds=[1, 1]", "seeds = [1, 1]: a seed is listed twice"),
        ("seeds=[-1]", "seeds[0] = -1: input should be greater than or equal to 0"),
        ("sampler=grids", "sampler = 'grids': input should be 'tpe', 'nsga2', 'gp' or 'random'"),
        (
            "sampler=cmaes",
            "sampler = 'cmaes': it supports a single objective only; allowed are tpe, nsga2, gp, "
            "random",
        ),
        ('methods=["sgdd"]', "no method 'sgdd'; allowed are ngm-sgd, "),
        ("methods=[]", "methods = []: list should have at least 1 item"),
        ('benchmarks=["mnist"]', "no benchmark 'mnist'; allowed are split-digits, rotated-digits"),
        ('objectives=["accuracy"]', "no objective 'accuracy'; allowed are avg_acc, avg_sg, "),
        ('objectives=["recovery"]', "no objective 'recovery'"),
        ('objectives=["avg_acc"]', "one value for each of the objectives avg_acc"),
        ('methods=["sgd", "sgd"]', "the method 'sgd' is listed twice"),
        ("trails=3", "unknown key 'trails' (did you mean 'trials'?); allowed are name, title"),
        ("name=a/b", "name = 'a/b': string should match pattern"),
        ("reference_point.avg_sg=nan", "reference_point.avg_sg = nan: must be a number worse than"),
        ("reference_point.avg_acc=1.0", "reference_point.avg_acc = 1.0: must be a number worse"),
        ("trials=10000000000", "trials = 10000000000: input should be less than or equal to"),
        (
            'eval_tasks=first-and-previous; objectives=["min_acc","avg_sg"]; '
            "reference_point={min_acc=0.0,avg_sg=1.0}",
            'objectives has min_acc, which needs eval_tasks = "seen"',
        ),
        (
            "strategy=replay",
            'strategy = "replay" and buffer_size = None: strategy = "replay" needs',
        ),
        ("buffer_size=10", 'strategy = "joint" and buffer_size = 10'),
        ("strategy=offline", "strategy = 'offline': input should be 'joint', 'replay' or 'naive'"),
        ("eval_precision=half", "eval_precision = 'half': input should be 'float32', 'mixed' or"),
        ("fixed.adamw.lr=0.1", "fixed has adamw, which is not a method of the study"),
        ("fixed.sgd.lr=0.1", "fixed.sgd has lr, which is a searched hyper-parameter of sgd"),
        ("fixed.sgd.layers=output", "fixed.sgd has layers = 'output': got an unexpected"),
        ("fixed.er.momentum='x'", "fixed has er, which is not a method of the study"),
        ("settings={sgd={lr='0.1'}, adam={lr=0.1}}; trials=1", "settings.sgd.lr = '0.1': must be"),
        ("settings={sgd={lr=nan}, adam={lr=0.1}}; trials=1", "settings.sgd.lr = nan: must be a"),
        ("settings={sgd={lr=-1}, adam={lr=0.1}}; trials=1", "settings.sgd has lr = -1: Invalid"),
        ("settings={sgd={lr=true}, adam={lr=0.1}}; trials=1", "settings.sgd.lr = True: must be a"),
        ("custom={path='x', tasks=[]}", "custom.tasks = []: list should have at least 2 items"),
        ("custom={path='x', tasks=1}", "custom.tasks = 1: input should be greater than or equal"),
        ("custom={path='x', tasks=2, normalisation=[]}", "custom.normalisation"),
        ("custom={path='x', tasks=2, normalisation=[[0.5]]}", "custom.normalisation"),
        ('benchmarks=["custom"]', "the benchmark 'custom' needs the table [custom]"),
        ("custom.path=x", "custom.tasks is missing"),
        ("custom={path='x', tasks=[['a'], ['a']]}", "a class is listed twice"),
        ("custom={pth='x', tasks=2}", "unknown key 'pth' in custom (did you mean 'path'?)"),
        ("resources.cpus=2", "unknown key 'cpus' in resources (did you mean 'cpu'?)"),
        ("resources.gpu=-1", "resources.gpu = -1: input should be greater than or equal to 0"),
        ("resources.gpu=1.5", "resources.gpu = 1.5: must be a fraction of one GPU, up to 1, or a"),
        (
            "methods=['ngm-sgd']; fixed.ngm-sgd.normalise_entropy=False",
            "fixed.ngm-sgd.normalise_entropy = 'False': must be true or false",
        ),
        ("fixed.sgd={nesterov='no', momentum=0.9}", "fixed.sgd.nesterov = 'no': must be true or"),
        ("fixed.sgd={momentum='a'}", "fixed.sgd.momentum = 'a': must be a number"),
        ("methods=['er']; fixed.er.buffer_size=1.5", "fixed.er.buffer_size = 1.5: must be a whole"),
        ("methods=['er']; fixed.er.buffer_size=true", "buffer_size = True: must be a whole number"),
        ("methods=['er']; fixed.er.buffer_size=0", "Invalid buffer size: 0 (must be a whole"),
        ("methods=['er']; fixed.er.buffer_size=9007199254740993", "a whole number from -2**53"),
        (
            "methods=['ewc']; fixed.ewc.fisher_examples=1.5",
            "fisher_examples = 1.5: must be a",
        ),
        (
            "methods=['gain-decoy']; fixed.gain-decoy.delay=2.5",
            "delay = 2.5: must be a whole",
        ),
        (
            "methods=['warmup-oracle']; search_space.warmup-oracle.warmup=[5, 9223372036854775808]",
            "warmup = [5, 9223372036854775808]: must be the lowest and the highest value, whole",
        ),
        (
            "methods=['ngm-sgd']; fixed.ngm-sgd.output='7'",
            "output names '7', which is not a module of MLP",
        ),
        (
            "custom={path='x', tasks=2, size=8, batch_size=1, model='slim-resnet18'}; "
            "benchmarks=['custom']",
            "custom = {'path': 'x', 'tasks': 2, 'size': 8, 'batch_size': 1, 'model': "
            "'slim-resnet18'}: batch_size = 1 and size = 8: the ResNet's batch",
        ),
        ("settings={sgd={}, adam={lr=0.1}}; trials=1", "settings.sgd has nothing: "),
        ("confirm=5", "confirm = 5: input should be a table"),
        ("seeds={a=1}", "seeds = {'a': 1}: "),
        ("resources.gpu=inf", "resources.gpu = inf: input should be a finite number"),
        ('probes=["hessian"]', "probes[0] = 'hessian': input should be 'curvature' or"),
        (
            "search_space.sgd.lr=[0.5, 0.1]",
            "search_space.sgd.lr = [0.5, 0.1]: the range is empty; the first value",
        ),
        ("search_space.sgd.lr=[0.5, 0.5]", "search_space.sgd.lr = [0.5, 0.5]: the range is empty"),
        (
            "search_space.sgd.lr=[0.5]",
            "search_space.sgd.lr = [0.5]: must be the lowest and the highest value",
        ),
        ("search_space.sgd.lr=[0.1, nan]", "search_space.sgd.lr = [0.1, nan]: must be the lowest"),
        ("search_space.sgd.lr=[0.1, inf]", "search_space.sgd.lr = [0.1, inf]: "),
        ("search_space.sgd.lr=[0, 1]", "search_space.sgd.lr = [0, 1]: `low > 0` must hold"),
        (
            "search_space.sgd.lr=['a', 'b']",
            "search_space.sgd.lr = ['a', 'b']: must be the lowest and",
        ),
        (
            "search_space.sgd.momentum=[0, 1]",
            "space.sgd has momentum, which is not a search coordinate of sgd; its search",
        ),
        (
            "search_space.adamw.lr=[0.1, 1]",
            "space has adamw, which is not a method of the study; its",
        ),
        (
            "methods=['ema']; search_space.ema.renewal=[0.1, 1.5]",
            "space.ema allows {'lr': 1.0, 'renewal'",
        ),
        (
            "methods=['warmup-oracle']; search_space.warmup-oracle.warmup=[5.5, 20.7]",
            "search_space.warmup-oracle.warmup = [5.5, 20.7]: ",
        ),
        (
            "constraints=['avg_acc > 0.9']",
            "'avg_acc > 0.9' is not a constraint; it must have the form",
        ),
        (
            "constraints=['accuracy >= 0.9']",
            "'accuracy >= 0.9': must be a finite bound on one of avg_acc, avg_sg, ",
        ),
        ("constraints=['avg_acc <= -0.5']", "is beyond the worst value, 0; no trial can be"),
        ("constraints=['avg_acc >= 1.5']", "is beyond the ideal value, 1; no trial can be"),
        ("constraints=['gap_area <= -0.1']", "is beyond the ideal value, 0; no trial can be"),
        ("constraints=['avg_sg >= 2']", "is beyond the worst value, 1; no trial can be"),
        (
            "constraints=['avg_acc >= 0.9', 'avg_acc>=0.90']",
            "constraints: a constraint is listed twice",
        ),
        (
            "constraints=['avg_acc >= 0.9', 'avg_acc <= 0.5']",
            "avg_acc cannot be at least 0.9 and at most 0.5",
        ),
        ("constraints=['avg_acc >= nan']", "'avg_acc >= nan': must be a finite bound on one of"),
        (
            "eval_every=100; constraints=['wf_100 <= 0.5']",
            "constraints has wf_100, which needs eval_every less than 100; it is 100",
        ),
        (
            "eval_tasks=first-and-previous; constraints=['min_acc >= 0.5']",
            'constraints has min_acc, which needs eval_tasks = "seen"',
        ),
        ("split='mine'", "split = 'mine': input should be 'drawn' or 'fixed'"),
        (
            "benchmarks=['rotated-digits']; class_order='drawn'",
            'class_order = "drawn": rotated-digits has the same classes in every task',
        ),
        (
            "confirm.max_configurations=-1",
            "confirm.max_configurations = -1: input should be greater than or equal to 0",
        ),
        ("confirm.seeds=0", "confirm.seeds = 0: input should be greater than or equal to 1"),
        (
            "reference_point.avg_acc=-0.1",
            "reference_point.avg_acc = -0.1: worse than the value of a diverged run, 0",
        ),
        (
            "reference_point.avg_sg=2.0",
            "reference_point.avg_sg = 2.0: worse than the value of a diverged run, 1",
        ),
        ("reference_point.avg_sg=0", "reference_point.avg_sg = 0.0: must be a number worse than"),
        ("margin.avg_sg=-0.1", "margin.avg_sg = -0.1: must be a positive number"),
        ("margin.avg_sg=inf", "margin.avg_sg = inf: must be a positive number"),
        ("margin.min_acc=0.1", "margin has min_acc, which is not an objective; the objectives are"),
        ("searches=0", "searches = 0: input should be greater than or equal to 1"),
        ("trials.x=1", "trials is not a table of the study"),
        ("trials", "expected KEY=VALUE"),
        ("=3", "expected KEY=VALUE"),
    ],
)
def test_an_invalid_entry_is_explained_in_one_sentence(
    file: Path, override: str, sentence: str
) -> None:
    with pytest.raises(UserError) as error:
        load_study(str(file), override.split("; "))
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)
    if not sentence.startswith(("expected", "trials is")):
        assert str(error.value).startswith(f"{file} with --set: ")


def test_an_error_in_the_file_does_not_name_the_command_line(file: Path) -> None:
    file.write_text(file.read_text().replace("trials = ", "trials = -"))
    with pytest.raises(UserError, match="trials = -") as error:
        load_study(str(file), ["seeds=2"])
    assert str(error.value).startswith(f"{file}: ")


def test_a_file_name_without_letters_or_digits_needs_the_key_name(file: Path) -> None:
    nameless = file.with_name("---.toml")
    nameless.write_text(file.read_text())
    with pytest.raises(UserError, match=r"---\.toml: the file name contains no study name"):
        load_study(str(nameless))
    assert load_study(str(nameless), ["name=mine"]).name == "mine"


@pytest.mark.parametrize("search", SEARCH[1:-1])
def test_a_study_with_settings_refuses_the_keys_of_a_search(file: Path, search: str) -> None:
    changes = ["settings={sgd={lr=0.1}, adam={lr=0.1}}", "trials=1", "searches=1"]
    key = search.partition("=")[0].partition(".")[0]
    with pytest.raises(UserError, match=f": {key}: a study with settings has no search"):
        load_study(str(file), [*changes, search])
    assert load_study(str(file), changes).settings is not None


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("title = ", "not valid TOML"),
        (MINIMAL.replace("trials = 4", ""), "trials is missing"),
        ("\x00", "not valid TOML"),
    ],
)
def test_invalid_files_are_an_error(tmp_path: Path, content: str, sentence: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(content)
    with pytest.raises(UserError, match=sentence):
        load_study(str(path))


def test_a_binary_file_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="cannot be read"):
        load_study(str(path))


def test_an_unknown_study_is_an_error() -> None:
    with pytest.raises(
        UserError, match=r"nope: neither a file nor a shipped study; .* digits, .*, quickstart"
    ):
        load_study("nope")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=4,
)


ranges = st.dictionaries(
    st.sampled_from(["lr", "dc_gain", "warmup", "x"]),
    st.lists(st.integers() | st.floats() | st.text(max_size=2), max_size=3),
)
points_to_evaluate = st.dictionaries(
    st.sampled_from(["method", "benchmark", "lr", "gain_sensitivity", "entropy_smoothing"]),
    st.sampled_from(["sgd", "ngm-sgd", "split-digits", 1, 0.1, True]) | json_values,
)
STEADY = {"method": "ngm-sgd", "lr": 0.1, "gain_sensitivity": 0.1}
plausible = {
    "methods": st.just(["sgd", "ngm-sgd", "warmup-oracle"]),
    "search_space": st.dictionaries(
        st.sampled_from(["sgd", "ngm-sgd", "warmup-oracle", "x"]), ranges
    ),
    "points_to_evaluate": st.lists(points_to_evaluate | st.sampled_from(["default", "paper"])),
    "constraints": st.lists(st.sampled_from(["avg_acc >= 0.5", "recovery <= 1"]) | st.text()),
}


@given(
    st.dictionaries(st.sampled_from([*Study.model_fields, "x"]), json_values),
    st.fixed_dictionaries({}, optional=plausible),
)
@example({}, {"search_space": {"sgd": {"lr": [0.1, 10**400]}}})
@example(
    {}, {"methods": ["ngm-sgd"], "points_to_evaluate": [{**STEADY, "entropy_smoothing": 10**400}]}
)
def test_any_study_is_valid_or_explained(
    changes: dict[str, object], more: dict[str, object]
) -> None:
    content = {"name": "fuzz", **tomllib.loads(MINIMAL), **changes, **more}
    try:
        validate_study(content, "fuzz.toml")
    except UserError as error:
        assert str(error).startswith("fuzz.toml: ")


@pytest.mark.parametrize(
    ("changes", "texts"),
    [
        (
            {"trials": 10, "max_concurrent_trials": 10},
            ["the tpe sampler will learn nothing: max_concurrent_trials = 10"],
        ),
        ({"trials": 10, "max_concurrent_trials": 10, "sampler": "random"}, []),
        ({"trials": 10, "max_concurrent_trials": 9}, []),
        ({"trials": 1}, []),
    ],
)
def test_a_sampler_without_effect_causes_a_warning(
    changes: dict[str, Any], texts: list[str]
) -> None:
    warnings = list(warn_of_a_sampler_without_effect(a_study(**changes)))
    assert len(warnings) == bool(texts)
    assert all(text in warnings[0] for text in texts)


@pytest.mark.parametrize(
    ("change", "hint"),
    [
        ("in_flight=2", "unknown key 'in_flight' (its name is now 'max_concurrent_trials')"),
        ("confirm.top=2", "unknown key 'top' in confirm (its name is now 'max_configurations')"),
        ("variant=joint", "unknown key 'variant' (its name is now 'strategy')"),
        ("racing.min_probability=0.3", "racing was removed: at equal compute one seed per trial"),
        ("plateau={}", "plateau was removed: at equal compute a fixed number of trials"),
    ],
)
def test_former_keys_are_refused_and_explained(change: str, hint: str) -> None:
    with pytest.raises(UserError) as error:
        load_study("quickstart", [change])
    assert hint in str(error.value)


def test_the_seed_of_a_study_determines_the_arrangement_of_its_data(file: Path) -> None:
    changes = ['benchmarks=["split-digits", "rotated-digits"]', 'split="drawn"']
    plans = [
        StudyPlan.resolve(load_study(str(file), [*changes, 'class_order="drawn"', f"seed={seed}"]))
        for seed in (0, 0, 1)
    ]
    split, again, other = (plan.arrangement("split-digits", 0) for plan in plans)
    repeated = plans[0].arrangement("split-digits", 1)
    assert split == again
    drawn = [
        seed for each in (split, other, repeated) for seed in (each.split_seed, each.order_seed)
    ]
    assert len(set(drawn)) == 6
    assert plans[0].arrangement("rotated-digits", 0).order_seed is None
    by_default = StudyPlan.resolve(load_study(str(file)))
    assert by_default.arrangement("split-digits", 0) == split
    as_published = load_study(str(file), ["split='fixed'", "class_order='paper'"])
    own = StudyPlan.resolve(as_published).arrangement("split-digits", 0)
    assert (own.split_seed, own.order_seed) == (None, None)


def test_benchmarks_with_the_same_classes_in_every_task_need_no_class_order(file: Path) -> None:
    plan = StudyPlan.resolve(load_study(str(file), ['benchmarks=["rotated-digits"]']))
    drawn = plan.arrangement("rotated-digits", 0)
    assert drawn.split_seed is not None
    assert drawn.order_seed is None
