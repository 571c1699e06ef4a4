"""The state dict in a file, whatever a training script put around it. No pickled code is run, ever."""

import pickle
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import torch

from thawline.config.errors import UserError, first_line
from thawline.models.checkpoint import read_tensors

_AVERAGED = ("state_dict_ema", "model_ema")
_WRAPPERS = ("state_dict", "model_state_dict", "model", "module")
"""Under which names training scripts keep a state dict, outermost first, averages of weights before others:
timm's loader takes them first as well, and they are what such scripts report."""


class _StandIn:
    """Something that was saved beside the weights and is not needed."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __setstate__(self, _: Any) -> None:
        pass


def _no_entries(*_: Any) -> dict[Any, Any]:
    return {}


_HARMLESS: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(
        (
            "argparse.Namespace",
            "datetime.datetime",
            "datetime.timedelta",
            "numpy._core.multiarray._reconstruct",
            "numpy._core.multiarray.scalar",
            "numpy.core.multiarray._reconstruct",
            "numpy.core.multiarray.scalar",
            "numpy.dtype",
            "numpy.ndarray",
            "omegaconf.base.ContainerMetadata",
            "omegaconf.base.Metadata",
            "omegaconf.dictconfig.DictConfig",
            "omegaconf.listconfig.ListConfig",
            "omegaconf.nodes.AnyNode",
            "pathlib.PosixPath",
            "pathlib.PurePosixPath",
            "pathlib.PureWindowsPath",
            "pathlib.WindowsPath",
            "torch.torch_version.TorchVersion",
            "types.SimpleNamespace",
            "typing.Any",
            *(f"builtins.{kind}" for kind in ("bool", "dict", "float", "frozenset", "int", "list", "range")),
            *(f"builtins.{kind}" for kind in ("slice", "str", "tuple")),
        ),
        _StandIn,
    ),
    "lightning.fabric.utilities.data.AttributeDict": dict,
    "lightning_fabric.utilities.data.AttributeDict": dict,
    "collections.defaultdict": _no_entries,
}
"""Classes that training scripts save beside the weights (arguments, paths, numbers), by name, and what stands
in for each: not even these are imported or run."""


@dataclass(frozen=True)
class StateDict:
    """A state dict and where in its file it was: `taken` is the path of names that leads to it ("" for the
    file itself), `left` are other state dicts there. `ordered` says if its order is the network's."""

    tensors: dict[str, torch.Tensor]
    taken: str = ""
    left: tuple[str, ...] = ()
    ordered: bool = True


def read_state_dict(path: Path) -> StateDict:
    """Read the state dict in a file of torch.save or a .safetensors file, on the CPU.

    Of several in a training file, an average of weights (`model_ema`) is taken before the weights themselves.
    Raises `UserError` when there is none, the file is damaged, or it could only be read by running code.
    """
    if path.suffix.lower() == ".safetensors":
        # sorted by kind of number and name when it was written
        return StateDict(read_tensors(path), ordered=False)
    found = dict(_state_dicts(_unpickled(path), ""))
    if not found:
        raise UserError(
            f"{path} holds no state dict (a dictionary of tensors).\n"
            "  Save one: torch.save(model.state_dict(), path)"
        )
    taken = next(iter(found))
    return StateDict(found[taken], taken, tuple(name for name in found if name != taken))


def _state_dicts(content: Any, name: str) -> Iterable[tuple[str, dict[str, torch.Tensor]]]:
    """Yield the state dicts below `content` with the names that lead to them, the wanted one first."""
    if not isinstance(content, Mapping):
        return
    if content and all(isinstance(tensor, torch.Tensor) for tensor in content.values()):
        yield name, {str(key): tensor.detach() for key, tensor in content.items()}
        return
    for wrapper in (*_AVERAGED, *_WRAPPERS):
        yield from _state_dicts(content.get(wrapper), f"{name}.{wrapper}".removeprefix("."))


def _unpickled(path: Path) -> Any:
    try:
        with torch.serialization.safe_globals([(stand_in, name) for name, stand_in in _HARMLESS.items()]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(_refusal(path)) from error
    except (RuntimeError, EOFError, BadZipFile, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is not a file of torch.save: {first_line(error)}") from error


def _refusal(path: Path) -> str:
    advice = "\n  Where the file comes from, save its state dict alone: torch.save(model.state_dict(), path)"
    try:
        found = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except (ValueError, RuntimeError, pickle.UnpicklingError):
        found = []  # not a zip file, as torch.save has made them for years
    names = sorted(set(found) - _HARMLESS.keys())
    if any(name.startswith("torch.nn.modules.") for name in names):
        classes = ", ".join(name for name in names if not name.startswith(("torch.", "builtins.")))
        return (
            f"{path} is a whole pickled network ({classes or 'torch.nn'}): reading it would run code from "
            f"the file, which is never done.{advice}"
        )
    what = f" ({', '.join(names)})" if names else ""
    return f"{path} contains pickled Python objects{what}, which are not run.{advice}"
