"""The registries of methods and benchmarks are cheap to import and agree with what they build."""

from __future__ import annotations

import subprocess
import sys
from inspect import signature

import pytest

import ngm_tune.benchmarks
from ngm_tune import NGMSGD
from ngm_tune.methods import builders

HEAVY = ("torch", "torchvision", "ray", "sklearn", "scipy")

BENCHMARKS = """
from ngm_tune.benchmarks import BENCHMARKS, CUSTOM, Benchmark, Custom, get_benchmark

assert len(BENCHMARKS) > 10
assert get_benchmark("split-cifar10").chance == 0.1
custom = Custom(path="pets", tasks=[["ant"], ["bee"]])
assert get_benchmark(CUSTOM, custom).classes == 2
"""

METHODS = """
from ngm_tune.methods import Method, get_method, log_uniform, methods

assert len(methods()) > 15
for method in methods().values():
    assert method.accepts("lr")
    assert method.coordinates_of(method.example).keys() == method.space.keys()
assert get_method("ngm-sgd").accepts("backbone_momentum")
"""


@pytest.mark.parametrize("statements", [BENCHMARKS, METHODS], ids=["benchmarks", "methods"])
def test_reading_a_registry_loads_no_heavy_package(statements: str) -> None:
    code = f"{statements}\nimport sys\nprint(*sys.modules)"
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert not set(HEAVY) & set(process.stdout.split())


def test_the_builder_of_ngm_sgd_has_the_arguments_of_the_optimizer() -> None:
    """The builder repeats the signature so that it can be read without torch."""
    ours, theirs = signature(builders.ngm_sgd), signature(NGMSGD)
    of_stacks = ("process_group", "gain_buffer")  # studies train on one device, without exports
    expected = [p for name, p in theirs.parameters.items() if name not in of_stacks]
    assert list(ours.parameters.values()) == expected


def test_an_unknown_name_of_the_package_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'TaskSplits'"):
        ngm_tune.benchmarks.TaskSplits  # noqa: B018
