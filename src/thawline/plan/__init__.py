"""What fits into the minutes a person has: what a step costs here, which way is fastest, what is tried."""
