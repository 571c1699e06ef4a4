"""Numbers and lists as people read them, the same wherever they are read."""

from collections.abc import Mapping, Sequence

Interval = Mapping[str, float]
"""`mean`, `low`, `high`."""

_PREFIXES = ("", "k", "M", "G", "T", "P", "E")


def percent(share: float) -> str:
    """Write a share: `93.1 %`."""
    return f"{100 * share:.1f} %"


def percent_range(interval: Interval) -> str:
    """Write an interval of shares: `90.2 to 95.0 %`."""
    return f"{100 * interval['low']:.1f} to {100 * interval['high']:.1f} %"


def percent_with_range(interval: Interval) -> str:
    """Write a share with its interval: `93.1 % (90.2 to 95.0)`."""
    return f"{percent(interval['mean'])} ({percent_range(interval).removesuffix(' %')})"


def with_range(interval: Interval) -> str:
    """Write a number with its interval: `0.893 (0.870 to 0.914)`."""
    return f"{interval['mean']:.3f} ({interval['low']:.3f} to {interval['high']:.3f})"


def points(share: float, signed: bool = True) -> str:
    """Write a difference of shares in percentage points, with a second decimal where the first would hide
    that it is not zero."""
    value = 100 * share
    digits = 2 if 0 < abs(value) < 0.05 else 1
    text = f"{value:+.{digits}f}" if signed else f"{abs(value):.{digits}f}"
    return "0.0" if float(text) == 0 else text.replace("-", "−")


def points_range(interval: Interval) -> str:
    """Write an interval of differences: `−0.4 to +1.2`."""
    return f"{points(interval['low'])} to {points(interval['high'])}"


def points_with_range(interval: Interval) -> str:
    """Write a difference with its interval: `+0.4 (−0.4 to +1.2)`."""
    return f"{points(interval['mean'])} ({points_range(interval)})"


def duration(seconds: float) -> str:
    """Write a time: `0.4 s`, `12 s`, `3 min 20 s`, `2 h 5 min`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60:,} h {minutes % 60} min"


def roughly(seconds: float) -> str:
    """Write a time that is only guessed: `40 s`, `4 min`."""
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def amount(value: float, unit: str = "") -> str:
    """Write three digits and a decimal prefix: `11.2 M`, `850`, `1.81 GFLOP`."""
    power = 0
    while abs(value) >= 999.5 and power < len(_PREFIXES) - 1:
        value, power = value / 1000, power + 1
    number = f"{value:#.3g}".rstrip(".") if power else f"{value:.0f}"
    return f"{number} {_PREFIXES[power]}{unit}".strip()


def memory(size: float) -> str:
    """Write bytes as `512 MiB` or `1.5 GiB`."""
    return f"{size / 2**20:,.0f} MiB" if size < 2**30 else f"{size / 2**30:.1f} GiB"


def rate(value: float | None) -> str:
    """Write a learning rate: `3.2e-3`; `–` where there is none."""
    if value is None or value != value:
        return "–"
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa.removesuffix('.0')}e{int(exponent)}"


def counted(number: int, noun: str) -> str:
    """Write `1 picture`, `1,200 pictures`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def listed(words: Sequence[str]) -> str:
    """Join words: `a, b and c`."""
    return f"{', '.join(words[:-1])} and {words[-1]}" if len(words) > 1 else "".join(words)
