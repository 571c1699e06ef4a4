"""Pictures that are looked at again: labels that may be wrong, and what more pictures would bring."""
