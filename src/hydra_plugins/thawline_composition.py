"""Loaded by Hydra in every program of this environment; it changes what composes thawline's configuration
alone: a stage, and `dvc exp run` (docs/decisions/dvc-meets-hydra.md).

It gives both the same resolver and the same readable errors.
"""

from thawline.config.plugin import install

install()
