"""What a study came to: the chosen recipe, the depth curve, tables and plots."""
