"""From conf/ (or its lock, params.yaml) to a checked `Config`."""

import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, cast

from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from thawline.config.errors import ConfigError, FieldError, UserError, first_line
from thawline.config.explain import field_message
from thawline.config.paths import expanded, require_watchable
from thawline.config.plugin import install
from thawline.config.recipe.rewards import Reward
from thawline.config.sections import Config
from thawline.config.weight_files import is_weight_file

LOCK = "params.yaml"
LOCK_HEADER = "# Written from conf/ by: python -m thawline.config --write\n"
_WRITE_ANEW = "write it anew: python -m thawline.config --write"


def repository_root() -> Path:
    """Return the folder at which relative paths of the person who typed them start.

    DVC runs `--temp` and queued experiments in a copy and names the real repository in DVC_ROOT.
    """
    return Path(os.environ.get("DVC_ROOT") or Path.cwd()).resolve()


def located(path: str) -> Path:
    """Return `path` with `~` expanded, absolute, relative ones below the repository's root."""
    return repository_root() / expanded(path)


def watch(root: str | None, download: bool, weights: str | None = None) -> str:
    """Return the path that DVC compares to notice changed pictures: the folder or file itself if there is
    one, else the pins of the packages that the embedded data sets come out of, and modules."""
    if root is not None:
        root = str(root)  # a number may be a folder's name
        # a folder that is still to be downloaded cannot be a DVC dependency
        return "constraints.txt" if download else str(located(root))
    if weights is not None and is_weight_file(weights):
        return str(located(weights))
    return "constraints.txt"


def watch_reward(costs: str | None, reward: str) -> str:
    """Return the path that DVC compares to notice that a reward changed: the table of costs where these are
    rewarded."""
    return watch(costs, download=reward != Reward.costs.name)


def watch_code(name: str | None) -> str:
    """Return the path that DVC compares to notice changed labelling functions: that of a Python file."""
    return watch(name if name is not None and name.endswith(".py") else None, False)


def require_watched(config: Config, root: Path) -> None:
    """Raise `ConfigError` if DVC, at work in `root`, could not read what it watches: the pictures of source
    and target, those without labels, and what mistakes cost."""
    for role, section in (("source", config.source), ("target", config.target)):
        try:
            require_watchable(root / section.watch)
        except UserError as error:
            weights = getattr(section, "weights", None)
            given = f"{role}.weights = {weights!r}" if weights else f"{role}.root = {section.root!r}"
            raise ConfigError(f"{given}: {error}") from None
    target, evaluate = config.target, config.evaluate
    further: tuple[tuple[str, str | None, str], ...] = (
        ("target.unlabelled", target.unlabelled, target.unlabelled_watch),
        ("target.votes", target.votes, target.votes_watch),
        ("target.labelling", target.labelling, target.labelling_watch),
        ("evaluate.costs", evaluate.costs, evaluate.costs_watch),
    )
    for name, value, watched in further:
        try:
            require_watchable(root / watched)
        except UserError as error:
            raise ConfigError(f"{name} = {value!r}: {error}") from None


def to_config(values: Any) -> Config:
    """Return the typed configuration; a wrong name, type or value is a `ConfigError` that says what is
    allowed.

    Args:
        values: what Hydra composed, or params.yaml as loaded by OmegaConf.
    """
    try:
        merged = OmegaConf.merge(_schema(), values)
    except OmegaConfBaseException as error:
        raise ConfigError(field_message(error, values)) from None
    try:
        return cast(Config, OmegaConf.to_object(merged))
    except FieldError:
        return cast(Config, _checked(merged, ""))


@cache
def _schema() -> Any:
    """Return the empty configuration with its types, which takes as long to make as a merge with it."""
    return OmegaConf.structured(Config)


def _checked(node: Any, section: str) -> Any:
    """Return `node` as dataclasses, the innermost first, so that an error says in which section it is."""
    if not isinstance(node, DictConfig):
        return node
    for name, child in node.items():
        _checked(child, f"{section}.{name!s}" if section else str(name))
    try:
        return OmegaConf.to_object(node)
    except FieldError as error:
        raise error.under(section) from None


def load_lock(root: Path) -> DictConfig:
    """Return params.yaml as OmegaConf reads it (PyYAML would read 1e-3 as text)."""
    path = root / LOCK
    if not path.exists():
        raise ConfigError(f"{path} does not exist.\n  write it: python -m thawline.config --write")
    try:
        values = OmegaConf.load(path)
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not UTF-8.\n  {_WRITE_ANEW}") from None
    except YAMLError as error:
        raise ConfigError(f"{path} cannot be read: {first_line(error)}.\n  {_WRITE_ANEW}") from None
    if not isinstance(values, DictConfig):
        raise ConfigError(f"{path} has no settings by their names.\n  {_WRITE_ANEW}")
    return values


def require_whole(lock: DictConfig, root: Path) -> None:
    """Raise `ConfigError` where params.yaml was cut short or leaves a value open: what it does not say would
    silently be a default."""
    values = OmegaConf.to_container(lock)
    absent = [name for name in flatten(_schema()) if not _holds(values, name.split("."))]
    if absent:
        more = f" and {len(absent) - 1} other settings" if len(absent) > 1 else ""
        raise ConfigError(f"{root / LOCK} is not whole: it lacks {absent[0]}{more}.\n  {_WRITE_ANEW}")
    for name, value in flatten(values).items():
        if value == MISSING:
            raise ConfigError(f"{root / LOCK}: {name} = {value} is no value.\n  set it, or {_WRITE_ANEW}")


def _holds(values: Any, names: Sequence[str]) -> bool:
    """Tell whether there is a setting of these names, one section in the other, whatever its value."""
    if not names:
        return True
    return isinstance(values, dict) and names[0] in values and _holds(values[names[0]], names[1:])


def compose(root: Path, overrides: list[str]) -> DictConfig:
    """Return conf/ under `root` composed by Hydra with `overrides`, all interpolations resolved."""
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.errors import HydraException

    install(root)
    try:
        with initialize_config_dir(str(root / "conf"), version_base=None):
            values = hydra_compose("config", overrides=overrides)
    except HydraException as error:
        raise ConfigError(str(error)) from None
    OmegaConf.resolve(values)
    return values


def lock_text(root: Path, overrides: list[str]) -> str:
    """Return the text that params.yaml must have for conf/ with `overrides`."""
    return LOCK_HEADER + OmegaConf.to_yaml(compose(root, overrides))


def differences(lock: Any, composed: Any) -> list[str]:
    """Return one line per field in which params.yaml and conf/ disagree, sorted by name."""
    left, right = flatten(lock), flatten(composed)
    absent = "(absent)"
    return [
        f"{name}: params.yaml has {left.get(name, absent)}, conf/ has {right.get(name, absent)}"
        for name in sorted(left.keys() | right.keys())
        if left.get(name, absent) != right.get(name, absent)
    ]


def flatten(values: Any, prefix: str = "") -> dict[str, Any]:
    """Return nested sections as one mapping of dotted names, e.g. `{"search.space.head_lr.low": 1e-4}`."""
    plain = OmegaConf.to_container(values) if OmegaConf.is_config(values) else values
    if not isinstance(plain, dict) or (prefix and not plain):
        return {prefix: plain}
    return {
        name: value
        for key, child in plain.items()
        for name, value in flatten(child, f"{prefix}.{key!s}" if prefix else str(key)).items()
    }
