"""The section `search`: what is searched, how, for how long and by whom."""

from dataclasses import dataclass, field
from typing import Any

from thawline.config.checks import positive, require
from thawline.config.choices import (
    Engine,
    Goal,
    Objective,
    PrunerName,
    SamplerName,
    ValidationName,
)
from thawline.config.errors import closest
from thawline.config.searchable import checked_choices

LINEAR_PROBE, EACH_DEPTH, MEASURED = "linear_probe", "each_depth", "measured"
KNOWN = (LINEAR_PROBE, EACH_DEPTH, MEASURED, "full", "lp_ft", "bit")
"""Names of the known good recipes (`thawline.search.space.known_recipes` says what they are)."""

WILCOXON_FOLDS = 5
"""With fewer, only the last fold could make a difference significant (p < 0.1), and then nothing is saved."""


@dataclass
class Range:
    """An interval searched on a logarithmic scale."""

    low: float = 3e-4
    high: float = 3e-2

    def __post_init__(self) -> None:
        positive(self, "low")
        require(self.high > self.low, "high", self.high, f"greater than low ({self.low})")


@dataclass
class Space:
    """Values that trials may vary. What is not named here stays as `finetune` says."""

    depths: list[int] | None = None
    """Depths searched; null: every one, from 0 to all units. Evenly spaced ones are searched as an ordered
    number, others as names without an order."""
    head_lr: Range = field(default_factory=lambda: Range(3e-4, 3e-2))
    """For the head of a network that comes from the source model."""
    scratch_lr: Range = field(default_factory=lambda: Range(1e-4, 1e-2))
    """For the whole network where it is trained from scratch."""
    body_lr: Range = field(default_factory=lambda: Range(3e-5, 3e-3))
    """For unfrozen parameters that start from the source model; exists only where there are some."""
    choices: dict[str, Any] = field(default_factory=dict)
    """Any other field of `finetune`, with the list of its values to try, e.g. `weight_decay: [0.0, 0.01]`.
    Each exists only in trials in which it means something (`layer_decay` where a body learns). A list of one
    value fixes it."""

    def __post_init__(self) -> None:
        require(
            self.depths is None or (len(self.depths) > 0 and min(self.depths) >= 0),
            "depths",
            self.depths,
            "null or a list of counts of frozen units, each 0 or more",
        )
        self.choices = checked_choices(self.choices)


@dataclass
class Limit:
    """Limits of one training of a trial; null: as much as it needs."""

    seconds: float | None = None
    """Of one training."""
    parameters: int | None = None
    """Trainable ones."""
    memory: float | None = None
    """Peak, in MiB: of the GPU where there is one, else of the process."""

    def __post_init__(self) -> None:
        positive(self, "seconds", "parameters", "memory")


@dataclass
class Search:
    """The study that chooses depth and learning rates on pictures that are not test pictures."""

    enabled: bool = True
    """false: the configured recipe passes through unchanged."""
    goal: Goal = Goal.recipe
    """recipe: the best recipe within the budget; depth_curve: equally many trials at every depth, then
    fresh seeds of each depth's best, intervals and a recommended depth."""
    trials: int = 15
    """Trials in all, per contender (goal recipe); a rerun adds only the missing ones."""
    trials_per_depth: int = 6
    """Trials at each depth (goal depth_curve)."""
    seeds_per_depth: int = 5
    """Fresh trainings of each depth's best recipe (goal depth_curve)."""
    known: list[str] = field(default_factory=lambda: [LINEAR_PROBE, MEASURED, "full", "lp_ft", "bit"])
    """Known good recipes that the fine-tuned model tries first, after the configured one unless each_depth is
    among them; []: none."""
    sampler: SamplerName = SamplerName.tpe
    """What proposes trials: tpe (Watanabe 2023), random, grid (every combination), cmaes (Hansen 2016), gp
    (a Gaussian process). cmaes and gp learn only the parameters that exist in every trial."""
    startup_trials: int = 6
    """Trials, the known recipes among them, before the sampler starts to learn; until then it draws at
    random."""
    grid_points: int = 4
    """Values of each learning rate in a grid."""
    pruner: PrunerName = PrunerName.median
    """What stops a hopeless trial early: median (worse than half of the trials after the same share of their
    epochs), asha (Li et al. 2020), hyperband (Li et al. 2018), wilcoxon (surely worse than the best over the
    folds of a cross-validation), none."""
    objective: Objective = Objective.accuracy
    """accuracy_and_cost: two objectives, the second is the operations of one training; the output is the
    Pareto front."""
    validation: ValidationName = ValidationName.auto
    """holdout: on the validation pictures; kfold: by cross-validation over everything that is not test;
    auto: decided by how many pictures there are, and said."""
    folds: int = 5
    """Parts of a cross-validation."""
    space: Space = field(default_factory=Space)
    limit: Limit = field(default_factory=Limit)
    workers: int = 1
    """Processes that run trials side by side, each with its share of the threads."""
    engine: Engine = Engine.local
    """Who places them: this machine, or a Ray cluster."""
    address: str | None = None
    """Of the Ray cluster; null: the one that RAY_ADDRESS names, else one is started on this machine."""
    storage: str | None = None
    """URL of the database of studies, e.g. postgresql+psycopg2://user@host/name, for workers on several
    machines; null: scratch/studies.db (sqlite)."""
    study: str | None = None
    """The study's name; null: named by all that decides its trials, so that a change is a new study."""
    heartbeat: int = 15
    """Seconds between a worker's signs of life."""
    grace: int = 120
    """Seconds without one after which a trial on another machine is given to another worker."""
    attempts: int = 5
    """Deaths of its worker after which a trial counts as failed."""

    def __post_init__(self) -> None:
        positive(self, "trials", "trials_per_depth", "seeds_per_depth", "startup_trials")
        positive(self, "grid_points", "workers", "heartbeat", "grace", "attempts")
        require(self.folds >= 2, "folds", self.folds, "2 or more")
        unknown = next((name for name in self.known if name not in KNOWN), None)
        if unknown is not None:
            nearest = f"nearest: {closest(unknown, KNOWN)}; all of them: {', '.join(KNOWN)}; []: none"
            require(False, "known", unknown, nearest)
        self._check_objective()
        self._check_pruner()
        self._check_goal()

    def _check_objective(self) -> None:
        if self.objective is not Objective.accuracy_and_cost:
            return
        reason = "because objective is accuracy_and_cost, and"
        allowed = f"none, {reason} half-trained trials cannot be ranked by two objectives"
        require(self.pruner is PrunerName.none, "pruner", self.pruner, allowed)
        allowed = f"tpe, gp, random or grid, {reason} CMA-ES follows one objective only"
        require(self.sampler is not SamplerName.cmaes, "sampler", self.sampler, allowed)

    def _check_pruner(self) -> None:
        if self.pruner is not PrunerName.wilcoxon:
            return
        reason = "because pruner is wilcoxon, which compares folds"
        require(self.validation is ValidationName.kfold, "validation", self.validation, f"kfold, {reason}")
        allowed = f"{WILCOXON_FOLDS} or more, {reason}: fewer cannot be told apart"
        require(self.folds >= WILCOXON_FOLDS, "folds", self.folds, allowed)

    def _check_goal(self) -> None:
        if self.goal is not Goal.depth_curve:
            return
        reason = "because goal is depth_curve, which"
        allowed = f"random or another that proposes, {reason} tries equally many rates at every depth"
        require(self.sampler is not SamplerName.grid, "sampler", self.sampler, allowed)
        allowed = f"accuracy, {reason} compares accuracies and reports the cost beside them"
        require(self.objective is Objective.accuracy, "objective", self.objective, allowed)
