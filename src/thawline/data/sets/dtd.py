"""Describable textures: 5,640 pictures of 47 kinds (Cimpoi et al. 2014)."""

from thawline.data.torchvision_sets import collector

collect = collector("DTD", {name: {"split": name} for name in ("train", "val", "test")})
