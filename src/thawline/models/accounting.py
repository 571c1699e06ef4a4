"""An account of where every tensor of a network came from; nothing is matched loosely."""

from collections.abc import Collection, Mapping

import torch

from thawline.config.errors import UserError


def account(
    source: Mapping[str, torch.Tensor], target: Mapping[str, torch.Tensor], heads: Collection[str]
) -> dict[str, list[str]]:
    """Say which tensors go where when the modules at the paths `heads` are replaced and all else is copied:
    sorted names, `copied` from the source, `dropped` of the source, freshly `initialised`.

    Raises `UserError` with sorted +/- lists when anything outside the heads does not match.
    """
    old, new = (
        {name: tensor for name, tensor in tensors.items() if not under(name, heads)}
        for tensors in (source, target)
    )
    require_match(old, new, "The source model")
    return {
        "copied": sorted(old),
        "dropped": sorted(source.keys() - old.keys()),
        "initialised": sorted(target.keys() - new.keys()),
    }


def under(name: str, paths: Collection[str]) -> bool:
    """Tell whether `name` is one of these modules or tensors, or inside of one."""
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
