"""The data sets that come with an installed package: they need neither a root nor a network."""
