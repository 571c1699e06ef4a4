"""Methods of fine-tuning, a module each: what learns under it, and what is added to the network so that it
learns while the network's own weights stay."""
