"""The conformance suite of ``ngm_tune.testing``, for every built-in method."""

from __future__ import annotations

from ngm_tune.methods.built_in import BUILT_IN
from ngm_tune.testing import MethodTestCase


def _case_name(name: str) -> str:
    return "Test" + "".join(part.capitalize() for part in name.split("-"))


for _method in BUILT_IN:
    globals()[_case_name(_method.name)] = type(
        _case_name(_method.name), (MethodTestCase,), {"method": _method}
    )
