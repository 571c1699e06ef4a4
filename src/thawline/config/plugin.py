"""What Hydra does otherwise where it composes thawline's configuration, and nowhere else.

Hydra loads `hydra_plugins.thawline_composition`, which calls `install`, in every program of this environment
that uses it. So this module imports nothing at its top, and whose configuration it is decides.
"""

import sys
from functools import wraps
from pathlib import Path
from typing import Any

_NAMES = ("config", "params")
_PLUGIN = Path("src") / "hydra_plugins" / "thawline_composition.py"
"""What lies beside the folder conf of a checkout of thawline, and of nothing else."""
_KNOWN: set[Path] = set()
"""Folders of configuration that thawline itself has asked for."""


def install(*checkouts: Path) -> None:
    """Give Hydra, in this process, our resolver and our errors where it composes our configuration: that of
    `checkouts`, and of any folder with our plugin in it. Safe to call again.

    Hydra has no hook for either: composing is wrapped, so that wrong values are refused where they
    are typed, also inside `dvc exp run`, before anything is queued or run.
    """
    from hydra._internal.config_loader_impl import ConfigLoaderImpl

    _KNOWN.update((checkout / "conf").resolve() for checkout in checkouts)
    original = ConfigLoaderImpl.load_configuration
    if getattr(original, "explains", False):
        return

    @wraps(original)
    def load_configuration(
        self: Any, config_name: str | None, overrides: list[str], run_mode: Any, *rest: Any, **named: Any
    ) -> Any:
        def compose() -> Any:
            return original(self, config_name, overrides, run_mode, *rest, **named)

        checkout = _checkout(self) if config_name in _NAMES else None
        return compose() if checkout is None else _explained(compose, overrides, run_mode, checkout)

    load_configuration.explains = True  # type: ignore[attr-defined]
    ConfigLoaderImpl.load_configuration = load_configuration  # type: ignore[method-assign]


def _checkout(loader: Any) -> Path | None:
    """Return the checkout of thawline whose folder conf a Hydra program composes; None for all that is not
    ours."""
    for each in loader.get_search_path().get_path():
        if each.provider != "main" or each.path is None:
            continue
        folder = Path(each.path.removeprefix("file://")).resolve()
        if folder.name == "conf" and (folder in _KNOWN or (folder.parent / _PLUGIN).is_file()):
            return folder.parent
    return None


def _explained(compose: Any, overrides: list[str], run_mode: Any, checkout: Path) -> Any:
    """Return what `compose` composes; raise what Hydra or our own check refuses, in words for people."""
    from hydra.errors import ConfigCompositionException, HydraException
    from hydra.types import RunMode
    from omegaconf import OmegaConf

    from thawline.config.candidates import spell_out
    from thawline.config.composition import (
        located,
        require_watched,
        to_config,
        watch,
        watch_code,
        watch_reward,
    )
    from thawline.config.errors import ConfigError
    from thawline.config.explain import composition_message

    OmegaConf.register_new_resolver("watch", watch, replace=True)
    OmegaConf.register_new_resolver("watch_reward", watch_reward, replace=True)
    OmegaConf.register_new_resolver("watch_code", watch_code, replace=True)
    try:
        values = compose()
    except HydraException as error:
        raise ConfigCompositionException(composition_message(error, overrides)) from None
    if run_mode is RunMode.RUN:
        try:
            spell_out(values, checkout, located)
            config = to_config(
                {key: value for key, value in values.items_ex(resolve=False) if key != "hydra"}
            )
            if "dvc.repo" in sys.modules:  # it would read the pictures next
                require_watched(config, checkout)
        except ConfigError as error:
            raise ConfigCompositionException(str(error)) from None
    return values
