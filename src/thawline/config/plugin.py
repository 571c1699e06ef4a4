"""What Hydra does otherwise where it composes thawline's configuration, and nowhere else.

Hydra loads `hydra_plugins.thawline_composition`, which calls `install`, in every program of this environment
that uses it. So this module imports nothing at its top, and whose configuration it is decides.
"""

from functools import wraps
from pathlib import Path
from typing import Any

_NAMES = ("config", "params")
_PLUGIN = Path("src") / "hydra_plugins" / "thawline_composition.py"
"""What lies beside the folder conf of a checkout of thawline, and of nothing else."""


def install() -> None:
    """Give Hydra, in this process, our resolver and our errors where it composes our configuration. Safe to
    call again.

    Hydra has no hook for either: composing is wrapped, so that wrong values are refused where they
    are typed, also inside `dvc exp run`, before anything is queued or run.
    """
    from hydra._internal.config_loader_impl import ConfigLoaderImpl

    original = ConfigLoaderImpl.load_configuration
    if getattr(original, "explains", False):
        return

    @wraps(original)
    def load_configuration(
        self: Any, config_name: str | None, overrides: list[str], run_mode: Any, *rest: Any, **named: Any
    ) -> Any:
        def compose() -> Any:
            return original(self, config_name, overrides, run_mode, *rest, **named)

        if config_name not in _NAMES or not _is_ours(self):
            return compose()
        return _explained(compose, overrides, run_mode)

    load_configuration.explains = True  # type: ignore[attr-defined]
    ConfigLoaderImpl.load_configuration = load_configuration  # type: ignore[method-assign]


def _is_ours(loader: Any) -> bool:
    """Tell whether what a Hydra program composes is the folder conf of a checkout of thawline."""
    folders = (
        Path(each.path.removeprefix("file://")).resolve()
        for each in loader.get_search_path().get_path()
        if each.provider == "main" and each.path is not None
    )
    return any(folder.name == "conf" and (folder.parent / _PLUGIN).is_file() for folder in folders)


def _explained(compose: Any, overrides: list[str], run_mode: Any) -> Any:
    """Return what `compose` composes; raise what Hydra or our own check refuses, in words for people."""
    from hydra.errors import ConfigCompositionException, HydraException
    from hydra.types import RunMode
    from omegaconf import OmegaConf

    from thawline.config.composition import to_config, watch
    from thawline.config.errors import ConfigError
    from thawline.config.explain import composition_message

    OmegaConf.register_new_resolver("watch", watch, replace=True)
    try:
        values = compose()
    except HydraException as error:
        raise ConfigCompositionException(composition_message(error, overrides)) from None
    if run_mode is RunMode.RUN:
        try:
            to_config({key: value for key, value in values.items_ex(resolve=False) if key != "hydra"})
        except ConfigError as error:
            raise ConfigCompositionException(str(error)) from None
    return values
