"""ngm-tune: hyper-parameter studies of NGM-SGD and its rivals in continual learning.

``from ngm_tune import NGMSGD`` gives the optimizer; everything else is behind the ``ngm-tune``
command. Importing this package loads nothing heavy: torch comes with the first use of NGMSGD.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ngm_tune.optim import NGMSGD

__version__ = "0.1.0"
__all__ = ["NGMSGD", "__version__"]

logging.getLogger(__name__).addHandler(logging.NullHandler())


def __getattr__(name: str) -> Any:
    if name == "NGMSGD":
        from ngm_tune.optim import NGMSGD

        return NGMSGD
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
