"""Writes what was measured for people: a page in Markdown with a picture beside it, in docs/generated/benchmarks."""

from collections.abc import Mapping, Sequence
from pathlib import Path

FOLDER = Path("docs/generated/benchmarks")


def write_page(name: str, title: str, command: str, intro: str, lines: Sequence[str], picture: str = "") -> Path:
    """Write a page; return where it lies."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    page = FOLDER / f"{name}.md"
    shown = [f"![{title}]({picture})", ""] if picture else []
    page.write_text("\n".join([f"# {title}", "", f"Made by `{command}`; do not edit. {intro}", "", *shown, *lines, ""]))
    return page


def draw_bars(
    name: str,
    title: str,
    groups: Mapping[str, Mapping[str, float]],
    label: str,
    line: float | None,
    lowest: float = 0.0,
    *,
    logarithmic: bool = False,
) -> str:
    """Draw bars from `lowest` on, a group for each key, and a line across if any; return the picture's name."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "aima"
    from matplotlib import pyplot

    FOLDER.mkdir(parents=True, exist_ok=True)
    names = list(dict.fromkeys(bar for group in groups.values() for bar in group))
    figure, axes = pyplot.subplots(figsize=(9, 4))
    width = 0.8 / len(names)
    for number, bar in enumerate(names):
        places = [place + number * width for place in range(len(groups))]
        axes.bar(places, [group.get(bar, 0.0) for group in groups.values()], width, label=bar)
    if line is not None:
        axes.axhline(line, color="black", linewidth=0.8, linestyle="--")
    axes.set_xticks([place + 0.4 - width / 2 for place in range(len(groups))], list(groups))
    if logarithmic:
        axes.set_yscale("log")
    axes.set_ylim(bottom=lowest or None)
    axes.set_ylabel(label)
    axes.set_title(title)
    axes.legend(fontsize="small", ncols=2)
    figure.tight_layout()
    figure.savefig(FOLDER / f"{name}.svg", metadata={"Date": None})
    pyplot.close(figure)
    return f"{name}.svg"
