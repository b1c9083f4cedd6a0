"""Conformance suites for authors of methods and benchmarks.

Subclass a test case in a test module of your package, and set the method or benchmark under test.
pytest collects the inherited checks::

    from ngm_tune.testing import BenchmarkTestCase, MethodTestCase

    from my_package import my_benchmark, my_method


    class TestMyMethod(MethodTestCase):
        method = my_method


    class TestMyBenchmark(BenchmarkTestCase):
        benchmark = my_benchmark

ngm-tune tests its built-in methods and benchmarks with the same suites. The suites need pytest,
which is not a dependency of ngm-tune.
"""

try:
    import pytest
except ImportError as error:
    raise ImportError("ngm_tune.testing needs pytest; run `pip install pytest`") from error

pytest.register_assert_rewrite(
    "ngm_tune.testing.benchmark_case", "ngm_tune.testing.method_case", "ngm_tune.testing.runs"
)

from ngm_tune.testing.benchmark_case import BenchmarkTestCase  # noqa: E402
from ngm_tune.testing.method_case import MethodTestCase  # noqa: E402

__all__ = ["BenchmarkTestCase", "MethodTestCase"]
