"""The source model chosen among several, by what each of them makes of the target's pictures."""
