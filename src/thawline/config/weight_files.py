"""How the names of files with weights end."""

SUFFIXES = (".safetensors", ".pth", ".pt", ".ckpt", ".pth.tar", ".bin")
"""In any case."""


def is_weight_file(weights: str) -> bool:
    """Tell if `source.weights` is the path of a file, rather than a name of published weights."""
    return weights.lower().endswith(SUFFIXES)
