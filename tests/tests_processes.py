"""Several workers played by one process."""

import pytest

from thawline.search.study import ask_and_tell as claims


class Processes:
    """Which worker acts, and which ones are dead."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.acting, self.dead = "worker 0", set[str]()
        patch.setattr(claims, "this_process", lambda: self.acting)
        patch.setattr(claims, "is_dead", lambda process: process in self.dead)
        patch.setattr(claims, "is_elsewhere", lambda process: process.startswith("elsewhere"))

    def dies(self) -> None:
        """The one that acts; another takes its place."""
        self.dead.add(self.acting)
        self.acting += "'"
