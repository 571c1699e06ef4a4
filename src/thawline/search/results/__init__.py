"""The results of a study: the chosen recipe, the depth curve, tables and plots."""
