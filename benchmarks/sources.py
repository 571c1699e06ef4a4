"""Which source to start from: what each score foretells of the accuracy after fine-tuning.

    python benchmarks/sources.py --data FOLDER --candidate imagenet --candidate imagenet-lite1 \\
        --candidate imagenet-lite2 --candidate mobilenet_v2=FILE

FOLDER holds rsscn7, hotdog256 and antsbees256, each a folder with train and test. Of each, 10 or 20
training pictures a class are drawn by every seed. Scores are those of the stage `choose_source`; then each
candidate is fine-tuned shortly (a solved head, then the second half of the units with it) and asked about
test pictures. What was measured is kept in benchmarks/results/sources.json, so that an interrupted call goes
on; the tables go into docs/choosing_sources.md.

    python benchmarks/sources.py

simulates what the rule does with the answers of two sources: how often it takes the cheaper one.
"""

import logging
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from command import arguments
from kept import put, rows_in
from pages import RESULTS, ROOT, fill, table
from scipy.stats import norm, spearmanr

from thawline.choose_source.choose_source import answers, scores
from thawline.choose_source.decision import with_candidate
from thawline.choose_source.looks import look
from thawline.config.candidates import Candidate
from thawline.config.composition import compose, to_config
from thawline.config.overrides import quoted
from thawline.config.recipe.fields import Finetune
from thawline.config.sections import BatchNorm, Config, HeadVariant, Phases, Role
from thawline.data.batches import Batches
from thawline.data.decoding import Decoder
from thawline.data.prepare import divided
from thawline.data.sources import collect
from thawline.data.store import Store, groups_of
from thawline.models.head import replace_head
from thawline.models.inference import probabilities
from thawline.models.preprocessing import transform_for
from thawline.models.weights import source_model_from_weights
from thawline.statistics.bootstrap import clusters_of
from thawline.statistics.comparisons import cheapest_alike
from thawline.statistics.recommendation import TOLERANCE
from thawline.training.solve.targets import Targets
from thawline.training.soup import finetune_soup

ROWS = RESULTS / "sources.json"
SETS = {"antsbees256": 20, "hotdog256": 20, "rsscn7": 10}
"""How many training pictures of a class are drawn."""
TESTED = 100
RECIPE = Finetune(
    phases=Phases.probe_first,
    depth=0.5,
    body_lr=1e-4,
    batch_norm=BatchNorm.frozen,
    epochs=3,
    batch_size=8,
)
SCORES = {
    "accuracy": "solved head, left out",
    "neighbours": "5 nearest neighbours, left out",
    "log_me": "LogME",
    "h_score": "shrunk H-score",
    "leep": "LEEP",
    "operations": "operations (larger is better)",
}
log = logging.getLogger("sources")


def composed(folder: Path, candidates: Sequence[str], seed: int) -> Config:
    """Return the configuration of the stage for one set and seed."""
    listed = ",".join(quoted(each) for each in candidates)
    target = ["target=image_folder", f"target.root={folder}", f"target.train_per_class={SETS[folder.name]}"]
    chosen = [*target, "source=weights", f"source.candidates=[{listed}]", f"seed={seed}"]
    return to_config(compose(ROOT, [*chosen, "trainer.threads=1", "target.val_per_class=1"]))


def measured(config: Config, name: str) -> Iterator[dict[str, Any]]:
    """Yield a row for each candidate: its scores, what decides, and its accuracy after fine-tuning."""
    data = config.target
    collection = collect(data, Role.target, config.seed)
    configs = [with_candidate(config, place) for place in range(len(config.source.candidates))]
    with tempfile.TemporaryDirectory() as temporary:
        scanned, decision, shown, _ = divided(
            data, Role.target, config.seed, collection, transform_for(configs[0]), Path(temporary)
        )
    generator = np.random.default_rng(config.seed)
    learnt = np.flatnonzero(np.isin(decision.names, ("train", "val")))
    tested = np.sort(generator.permutation(np.flatnonzero(decision.names == "test"))[:TESTED])
    rows = np.concatenate([learnt, tested])
    classes, labels = np.unique(scanned.pictures["label"].to_numpy(str), return_inverse=True)
    manifest = scanned.pictures.iloc[learnt].assign(split="train").reset_index(drop=True)
    targets = Targets(labels[learnt], len(classes), groups=groups_of(manifest))
    for each in configs:
        source = Candidate(each.model.architecture, each.source.weights or "").name
        transform = replace(transform_for(each), range=shown.range)
        decoder = Decoder(transform, data.max_megapixels)
        images = np.stack(list(scanned.decoded(collection, decoder, rows, f"{name}, {source}")))
        seen = look(each, transform, images[: len(learnt)], targets.labels)
        started = time.perf_counter()
        heads, votes = answers(seen, targets)
        row = scores(source, seen, targets)
        row |= {"accuracy": heads.mean(), "neighbours": votes.mean(), "right": heads.astype(int).tolist()}
        row |= {"solving": time.perf_counter() - started, "set": name, "seed": config.seed}
        store = Store(
            images[: len(learnt)], manifest, tuple(map(str, classes)), transform, f"{name}{config.seed}"
        )
        fine, seconds = fine_tuned(each, store, images[len(learnt) :], labels[tested])
        yield row | {"fine_tuned": fine, "fine_tuning": seconds, "groups": targets.together.tolist()}


def fine_tuned(config: Config, store: Store, images: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Return the share of test pictures that are right after fine-tuning, and the seconds it took."""
    started = time.perf_counter()
    source, _ = source_model_from_weights(config)
    network, _ = replace_head(source, len(store.classes), config.seed, HeadVariant.linear)
    finetune_soup(network, RECIPE, store, config.trainer, seed=config.seed, mirror=True)
    seconds = time.perf_counter() - started
    asked = Batches(images, labels, store.transform, 64, shuffle=False)
    return float((probabilities(network, asked, "cpu").argmax(1) == labels).mean()), seconds


def judged(found: pd.DataFrame) -> pd.DataFrame:
    """Return, by score and set, Spearman's rank correlation with the accuracy after fine-tuning and the
    regret of taking the candidate that scores best; the means over seeds. Regrets are in points."""
    rows = []
    for (name, seed), group in found.groupby(["set", "seed"], sort=False):
        truth = group["fine_tuned"].to_numpy()
        for score, words in SCORES.items():
            values = group[score].to_numpy(float)
            known = np.isfinite(values)
            varies = len(set(values[known])) > 1 and len(set(truth[known])) > 1
            rank = spearmanr(values[known], truth[known]).statistic if varies else np.nan
            best = int(np.nanargmax(np.where(known, values, np.nan)))
            rows.append((name, words, rank, 100 * (truth.max() - truth[best])))
        rows += [
            (name, words, np.nan, 100 * (truth.max() - truth[place])) for words, place in rules(group, seed)
        ]
    told = pd.DataFrame(rows, columns=["set", "score", "rank", "regret"])
    return told.groupby(["score", "set"], sort=False)[["rank", "regret"]].mean().reset_index()


def rules(group: pd.DataFrame, seed: int) -> Iterator[tuple[str, int]]:
    """Yield what chooses the cheapest candidate that could be the best, and the place of the one it takes."""
    right, costs = np.array(group["right"].tolist(), float), group["operations"].to_numpy()
    clusters = clusters_of(right.shape[1], group["groups"].iloc[0])
    for words, tolerance in (
        ("whichever is cheapest and could be the best", np.inf),
        ("… and within a point of it: the rule", TOLERANCE),
    ):
        yield words, cheapest_alike(right, costs, clusters, tolerance=tolerance, seed=seed)[0]


def tables(rows: list[dict[str, Any]]) -> str:
    """Return the two tables in Markdown."""
    found, lines = pd.DataFrame(rows), []
    told = judged(found)
    for score, group in told.groupby("score", sort=False):
        cells = {row["set"]: _cell(row["rank"], row["regret"]) for _, row in group.iterrows()}
        means = _cell(group["rank"].mean(), group["regret"].mean()).split("; ")
        lines.append([score, *(cells.get(name, "–") for name in SETS), *means])
    scores = table(["score", *SETS, "mean rank", "mean regret"], lines)
    lines = []
    for source, group in found.groupby("source", sort=False):
        means = group.groupby("set")[["accuracy", "fine_tuned"]].mean()
        both = {name: f"{row['accuracy']:.3f} → {row['fine_tuned']:.3f}" for name, row in means.iterrows()}
        costs = [f"{group['operations'].iloc[0] / 1e9:.2f}", f"{group['seconds'].median():.3f}"]
        costs.append(f"{group['solving'].median():.2f}")
        lines.append([source, *(both.get(name, "–") for name in SETS), *costs])
    names = ["source", *SETS, "GFLOP", "seconds a picture", "seconds to score"]
    return f"{scores}\n\n{table(names, lines)}"


def _cell(rank: float, regret: float) -> str:
    return f"{'–' if np.isnan(rank) else f'{rank:+.2f}'}; {regret:.1f}"


def simulated(gap: float, pictures: int, studies: int = 100) -> tuple[float, float]:
    """Return how often the rule takes the cheaper of two sources whose head is right on `gap` less than the
    other's 85 %, and how often whatever could be the best would be taken.

    Answers are those of a normal score with a correlation of 0.7 between the two, passed by the accuracy.
    """
    generator = np.random.default_rng([pictures, round(1000 * gap)])
    taken = np.zeros(2)
    for _ in range(studies):
        both = generator.normal(size=pictures) * np.sqrt(0.7)
        scores = both + np.sqrt(0.3) * generator.normal(size=(2, pictures))
        right = (scores < norm.ppf([[0.85 - gap], [0.85]])).astype(float)
        for place, tolerance in enumerate((TOLERANCE, np.inf)):
            costs, own = np.array([1.0, 2.0]), np.arange(pictures)
            taken[place] += cheapest_alike(right, costs, own, tolerance=tolerance, resamples=300)[0] == 0
    return taken[0] / studies, taken[1] / studies


def rule_table() -> str:
    """Return what the rule does in simulated studies, in Markdown."""
    counts, lines = (50, 200, 1000), []
    for gap in (0.0, 0.01, 0.02, 0.04, 0.08):
        found = [simulated(gap, each) for each in counts]
        cells = [f"{100 * rule:.0f} % ({100 * alike:.0f} %)" for rule, alike in found]
        lines.append([f"{100 * gap:.0f} points", *cells])
    return table(["cheaper one is worse by", *(f"{each} pictures" for each in counts)], lines)


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--data", type=Path, help="where the sets are; without it, the rule is simulated")
    parser.add_argument("--candidate", action="append", default=[])
    parser.add_argument("--seeds", type=int, default=3)
    chosen = parser.parse_args()
    if chosen.data is None:
        fill("choosing_sources.md", {"rule": rule_table()})
        return
    for seed, name in product(range(chosen.seeds), SETS):
        config = composed((chosen.data / name).resolve(), chosen.candidate, seed)
        done = {row["source"] for row in rows_in(ROWS) if (row["set"], row["seed"]) == (name, seed)}
        left = [each for each in config.source.candidates if Candidate.of(each).name not in done]
        config.source.candidates = left
        for row in measured(config, name) if left else ():
            put(ROWS, [row], "set", "seed", "source")
            told = (row["accuracy"], row["fine_tuned"])
            log.info("%s, seed %d, %s: %.3f → %.3f", name, seed, row["source"], *told)
    fill("choosing_sources.md", {"sources": tables(rows_in(ROWS))})


if __name__ == "__main__":
    main()
