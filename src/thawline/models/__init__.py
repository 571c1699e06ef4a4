"""Networks: how they are built, cut, frozen, given heads, adapted, saved and asked."""
