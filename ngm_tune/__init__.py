"""ngm-tune: hyper-parameter studies of NGM-SGD and its rivals in continual learning.

``from ngm_tune import NGMSGD, attach_gain`` gives the optimizer and the gain of loaded models;
everything else is behind the ``ngm-tune`` command. Importing this package loads nothing heavy:
torch comes with the first use of these names.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ngm_tune.optim import NGMSGD, attach_gain

__version__ = "0.1.0"
__all__ = ["NGMSGD", "__version__", "attach_gain"]

logging.getLogger(__name__).addHandler(logging.NullHandler())


def __getattr__(name: str) -> Any:
    if name in ("NGMSGD", "attach_gain"):
        from ngm_tune import optim

        return getattr(optim, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
