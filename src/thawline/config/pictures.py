"""The sections about pictures: where they come from, how they are split, what the network is given."""

from dataclasses import dataclass, field
from math import inf

from thawline.config.addresses import advice, is_address
from thawline.config.checks import in_unit_interval, positive, require
from thawline.config.choices import EMBEDDED, DataSetName, Fit, Groups, Layout, Match

MAX_MEGAPIXELS = 200.0
"""Millions of pixels of the largest picture that is read: always in serving, by default in data sets."""


@dataclass
class DataSet:
    """Origin of labelled pictures and their splits."""

    dataset: DataSetName | None = None
    """The named data set."""
    root: str | None = None
    """image_folder: the folder or .tar/.zip with one sub-folder per class (or train/val/test
    folders of them). table: the .csv file with the pictures' paths and labels, or the folder with a
    labels.csv in it. torchvision's data sets: the folder they lie in or are downloaded to.
    Not used by the embedded data sets."""
    layout: Layout = Layout.auto
    """image_folder only: where a picture's class and split are named. class_folders: CLASS/FILE.
    split_folders: SPLIT/CLASS/FILE. splits_in_classes: CLASS/SPLIT/FILE. innermost_folders: the class is the
    folder that the picture lies in, whatever is above it. file_names: CLASS_12.jpg. Pictures may lie deeper
    than that. auto: the one that alone makes sense; where several do, none is taken and all are listed."""
    groups: Groups = Groups.complete
    """image_folder only: whether groups.csv, where there is one, has to name every picture and nothing else.
    partial: rows without a picture are passed over, pictures without a row are groups of their own."""
    allow_missing_classes: bool = False
    """Go on without the classes of which nothing is left, or too little to learn and test on."""
    watch: str = "constraints.txt"
    """The path whose content DVC compares to decide whether the pictures changed. Computed when the
    configuration is composed: the root as an absolute path (of a table that is a .csv file therefore
    the table alone, not its pictures); for embedded data sets the pins of the packages they are taken
    from."""
    download: bool = False
    """torchvision's data sets only: fetch what is missing under `root`."""
    train_per_class: int | None = None
    """Labelled training pictures kept of each class; null keeps all."""
    val_per_class: int | None = None
    """Validation pictures taken from each class; null uses `val_fraction`."""
    val_fraction: float = 0.2
    """Share of the training pictures used for validation where the data set names none."""
    test_fraction: float = 0.25
    """Share of all pictures used as the test split where the data set names none."""
    near_duplicate_bits: int = 2
    """Pictures whose 64-bit perceptual hashes differ in at most this many bits are kept on one side
    of every split; -1 switches the comparison off."""
    max_megapixels: float = MAX_MEGAPIXELS
    """Pictures of more than so many million pixels are left out. Decoding takes up to 4.3 MB of memory for
    each of them; those above 32 megapixels are read at a half, a quarter or an eighth of their sides."""
    range: list[float] | None = None
    """Values that are black and white in pictures of more than 8 bits, such as [-1000, 1000]; what lies
    outside is cut off. null: of integers, 0 and the highest number of 8, 10, 12, 14 or 16 bits, the fewest
    that hold the training pictures; of floats, 0 and 1."""
    mirror: bool = False
    """Whether a mirrored picture keeps its label (lets `augmentation` mirror)."""

    def __post_init__(self) -> None:
        positive(self, "train_per_class", "val_per_class", "max_megapixels")
        in_unit_interval(self, "val_fraction", "test_fraction")
        require(
            -1 <= self.near_duplicate_bits <= 32,
            "near_duplicate_bits",
            self.near_duplicate_bits,
            "from -1 (off) to 32 bits",
        )
        require(
            self.range is None or (len(self.range) == 2 and -inf < self.range[0] < self.range[1] < inf),
            "range",
            self.range,
            "two numbers, the lower (black) first, such as [-1000,1000]",
        )
        require(
            self.root is not None or self.dataset is None or self.dataset.name in EMBEDDED,
            "root",
            self.root,
            f"a folder (or .tar/.zip) with pictures, or a table of them, because dataset is "
            f"{self.dataset.name if self.dataset else None}",
        )
        require(not is_address(self.root or ""), "root", self.root, advice(self.root or ""))


@dataclass
class Source(DataSet):
    """The data set the source model is pretrained on, or the weights used instead."""

    weights: str | None = None
    """Published or local weights instead of pretraining: a name of torchvision's or timm's (`DEFAULT`,
    `IMAGENET1K_V1`, `a1_in1k`), weights from a package (`efficientnet-lite0`), or the path of a .safetensors,
    .pth, .pt, .ckpt, .pth.tar or .bin file. null pretrains on `dataset`."""
    candidates: list[str] = field(default_factory=list)
    """Sources to choose from by the target's training and validation pictures, in place of `weights` and
    `model.architecture`: presets of weights (`imagenet`, `imagenet-lite1`), architectures with published
    weights (`timm:resnet18`), and ARCHITECTURE=WEIGHTS, where WEIGHTS may be a file. The lock has them all
    spelt out as the last. None: the source is as configured."""
    match: Match = Match.names
    """How a file's tensors find their places in the network: by name (known prefixes are taken off), or in
    their order, where the names are others and the network is the same."""
    glyphs_per_class: int = 320
    """glyphs only: pictures drawn of each of the 52 letters."""
    scan_px: int = 8
    """glyphs only: side in pixels each letter is reduced to before it is enlarged to the input size,
    as the scanner of the digits did."""

    def __post_init__(self) -> None:
        super().__post_init__()
        positive(self, "glyphs_per_class", "scan_px")
        require(not is_address(self.weights or ""), "weights", self.weights, advice(self.weights or ""))
        if self.candidates:
            require(
                self.weights is not None,
                "weights",
                self.weights,
                "weights, because candidates are: give source=weights with source.candidates",
            )
        spelt = all("=" in each for each in self.candidates)
        twice = sorted({each for each in self.candidates if self.candidates.count(each) > 1})
        require(spelt, "candidates", self.candidates, "ARCHITECTURE=WEIGHTS each (in the lock)")
        require(not twice, "candidates", twice, "each once")
        require(
            (self.dataset is None) != (self.weights is None),
            "weights",
            self.weights,
            "set if and only if `dataset` is null (a source is either pictures or weights)",
        )


@dataclass
class Target(DataSet):
    """The data set the model is fine-tuned for."""

    unlabelled: str | None = None
    """A folder or .tar/.zip of more pictures of the same sort, without labels; their shares of the classes
    are taken to be about those of the labelled ones. The stage `supervise` learns from them if that can be
    shown to help. What looks like a labelled picture is left out, so it may be the labelled folder itself,
    where `train_per_class` leaves some over. null: there are none."""
    unlabelled_watch: str = "constraints.txt"
    """The path whose content DVC compares to notice that these pictures changed (computed)."""
    votes: str | None = None
    """A CSV file with a column path and a column for each voter, who calls a picture one of the classes or
    nothing. Pictures that have no label (image_folder: those in no class folder; table: those whose label is
    blank) get the one that voters give them together; all others keep theirs."""
    labelling: str | None = None
    """A Python file (.py), or the name of a module, whose functions of a picture (PIL.Image.Image) return a
    class's name or None: they are voters."""
    votes_watch: str = "constraints.txt"
    """What DVC compares to notice that the votes were changed (computed)."""
    labelling_watch: str = "constraints.txt"
    """What DVC compares to notice that labelling functions were changed (computed; of a module, nothing)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        more = self.unlabelled or ""
        require(not is_address(more), "unlabelled", more, advice(more))
        require(self.dataset is not None, "dataset", self.dataset, "a data set's name")


@dataclass
class Input:
    """Pictures as the network is given them."""

    size: int | None = 32
    """Side of the square input in pixels. null: as the source weights' own preset says."""
    resize: int | None = None
    """Side the shorter edge is resized to before the centre crop to `size`; null: equal to `size`."""
    channels: int = 3
    """1 (gray) or 3 (RGB)."""
    fit: Fit | None = Fit.crop
    """How a picture becomes square: centre crop, squash, or pad with black. null: crop, or as the source
    weights' own preset says."""
    mean: list[float] | None = None
    """Per channel, in units of the range 0..1; null: 0.5, or the source weights' own preset."""
    std: list[float] | None = None
    """Per channel, in units of the range 0..1; null: 0.25, or the source weights' own preset."""

    def __post_init__(self) -> None:
        positive(self, "size", "resize")
        require(self.channels in (1, 3), "channels", self.channels, "1 (gray) or 3 (RGB)")
        require(
            self.size is None or self.resize is None or self.resize >= self.size,
            "resize",
            self.resize,
            f"at least size ({self.size})",
        )
        for name in ("mean", "std"):
            values = getattr(self, name)
            require(
                values is None or len(values) == self.channels,
                name,
                values,
                f"{self.channels} numbers, one per channel",
            )
        require(self.std is None or min(self.std) > 0, "std", self.std, "numbers greater than 0")
