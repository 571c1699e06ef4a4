"""What sources.csv says, in a sentence."""

from typing import Any

from thawline.wording import listed, percent


def sentence(table: Any) -> str:
    """Say which source was chosen and why; `table` has the columns of sources.csv and a row or more."""
    (chosen,) = table[table["chosen"]].to_dict("records")
    alike, name = list(table[table["alike"]]["source"]), chosen["source"]
    right = f"{percent(chosen['accuracy'])} of {chosen['pictures']} pictures right when they are left out"
    if len(alike) == 1:
        return f"{name} is the best source by more than chance: {right}."
    within = f"of those within a point of the best {name} takes the fewest operations"
    return f"{listed(alike)} cannot be told apart; {within} ({right})."
