"""An account of where every tensor of a network came from; nothing is matched loosely."""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass

import torch

from thawline.config.errors import UserError


@dataclass(frozen=True)
class Accounting:
    """Sorted names: `copied` from the source, `dropped` of the source, freshly `initialised`."""

    copied: tuple[str, ...]
    dropped: tuple[str, ...]
    initialised: tuple[str, ...]

    def to_dict(self) -> dict[str, list[str]]:
        """Return the names as JSON-like lists."""
        return {kind: list(names) for kind, names in asdict(self).items()}


def account(
    source: Mapping[str, torch.Tensor], target: Mapping[str, torch.Tensor], heads: Collection[str]
) -> Accounting:
    """Say which tensors go where when the modules at the paths `heads` are replaced and all else is copied.

    Raises `UserError` with sorted +/- lists when anything outside the heads does not match.
    """
    old, new = (
        {name: tensor for name, tensor in tensors.items() if not _under(name, heads)}
        for tensors in (source, target)
    )
    require_match(old, new, "The source model")
    return Accounting(
        copied=tuple(sorted(old)),
        dropped=tuple(sorted(source.keys() - old.keys())),
        initialised=tuple(sorted(target.keys() - new.keys())),
    )


def _under(name: str, paths: Collection[str]) -> bool:
    return any(name == path or name.startswith(f"{path}.") for path in paths)


def require_match(given: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor], origin: str) -> None:
    """Raise `UserError` unless names and shapes agree: `-` the network needs it, `+` `origin` has it."""
    ours, theirs = (
        {f"{name} {tuple(tensor.shape)}" for name, tensor in tensors.items()} for tensors in (wanted, given)
    )
    lines = [f"  - {line}" for line in sorted(ours - theirs)] + [
        f"  + {line}" for line in sorted(theirs - ours)
    ]
    if lines:
        raise UserError(f"{origin} does not fit the network (- missing, + unexpected):\n" + "\n".join(lines))
