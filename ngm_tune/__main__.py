"""``python -m ngm_tune`` is the ``ngm-tune`` command."""

from ngm_tune.cli import main

main()
