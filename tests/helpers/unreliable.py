"""A method that raises while the environment variable BREAK_METHOD is set."""

from __future__ import annotations

UNRELIABLE = """
    import os

    from optuna.distributions import FloatDistribution
    from torch.optim import SGD

    from ngm_tune.methods import Method


    def build(model, lr):
        if "BREAK_METHOD" in os.environ:
            raise RuntimeError("the method is broken")
        return SGD(model.parameters(), lr=lr)


    unreliable = Method(
        name="unreliable",
        title="Unreliable",
        source="tests",
        space={"lr": FloatDistribution(1e-3, 1e-1, log=True)},
        build=build,
    )
"""
"""Source of the method, for :func:`tests.helpers.commands.install_methods`."""
