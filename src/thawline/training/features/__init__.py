"""The frozen prefix, computed once: what it makes of each picture is stored for all epochs and trials."""
