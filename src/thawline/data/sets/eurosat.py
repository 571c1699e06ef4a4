"""EuroSAT: 27,000 satellite pictures of ten kinds of land, not split (Helber et al. 2019)."""

from thawline.data.torchvision_sets import collector

collect = collector("EuroSAT", {"": {}})
