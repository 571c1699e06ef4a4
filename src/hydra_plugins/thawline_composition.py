"""Loaded by Hydra wherever it composes thawline's configuration: in a stage and inside `dvc exp run`.

It makes both give the same resolver and the same readable errors (docs/decisions/dvc-meets-hydra.md).
"""

from thawline.config.composition import install

install()
