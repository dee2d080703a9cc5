"""The report's pictures, drawn by matplotlib as SVG whose colours are the page's: CSS variables, for light and dark."""

from __future__ import annotations

import io
import re
from typing import Any, Sequence

import matplotlib

matplotlib.use("Agg")
import matplotlib.figure # noqa: E402
import matplotlib.pyplot as plt # noqa: E402
import numpy as np # noqa: E402

# What is drawn in one of these gets the variable of its name.
COLOURS = {"ink": "#010101", "muted": "#020202", "grid": "#030303", "accent": "#040404", "mark": "#050505",
           "gain": "#060606", "loss": "#070707", "faint": "#080808"}
WIDTH = 5.1 # inches; letters are legible on a telephone then
STYLE = {
    "svg.fonttype": "none", "font.family": "DejaVu Sans", "font.size": 11, "axes.labelsize": 11,
    "xtick.labelsize": 10, "ytick.labelsize": 10, "legend.fontsize": 10, "axes.spines.top": False,
    "axes.spines.right": False, "axes.edgecolor": COLOURS["muted"], "axes.labelcolor": COLOURS["ink"],
    "xtick.color": COLOURS["muted"], "ytick.color": COLOURS["muted"], "xtick.labelcolor": COLOURS["ink"],
    "ytick.labelcolor": COLOURS["ink"], "text.color": COLOURS["ink"], "axes.grid": True,
    "grid.color": COLOURS["grid"], "axes.axisbelow": True, "legend.frameon": False, "axes.facecolor": "none",
    "figure.facecolor": "none", "axes.formatter.use_mathtext": False,
}


def svg(figure: Any, name: str, alt: str) -> str:
    """The figure as an <svg> to put into a page that holds others; `alt` says what it shows."""
    text = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": name, "svg.fonttype": "none"}):
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    plt.close(figure)
    drawn = text.getvalue()
    drawn = drawn[drawn.index("<svg") :]
    drawn = re.sub(r"<metadata>.*?</metadata>", "", drawn, flags=re.S)
    # names are the page's, not the picture's
    drawn = re.sub(r'(\bid="|url\(#|xlink:href="#)', rf"\g<1>{name}-", drawn)
    drawn = re.sub(r"(font(?:-family)?: ?[^;\"]*?)'DejaVu Sans'[^;\"]*", r"\1var(--font)", drawn)
    for colour, value in COLOURS.items():
        drawn = drawn.replace(value, f"var(--{colour})")
    alt = alt.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    return re.sub(r"<svg [^>]*?(viewBox=\"[^\"]*\")[^>]*>",
                  rf'<svg \1 xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
                  rf'role="img" aria-label="{alt}">', drawn, count=1)


def axes_of(height: float, x: str, y: str, grid: str = "both") -> Any:
    figure, axes = plt.subplots(figsize=(WIDTH, height), constrained_layout=True)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(False)
    axes.grid(True, axis=grid)
    return figure, axes


def percent(axis: Any) -> None:
    axis.set_major_formatter(lambda value, _: f"{100 * value:.3g} %")


def short(value: float) -> str:
    """1234567 as 1.2 M."""
    for size, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= 0.9995 * size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


def recall_over_speed(points: Sequence[Any], default: int, k: int) -> Any:
    figure, axes = axes_of(3.7, f"recall@{k}", "queries a second")
    axes.set_yscale("log")
    axes.plot([p.recall for p in points], [p.qps for p in points], color=COLOURS["accent"], marker="o", markersize=5,
              linewidth=2)
    (chosen,) = [p for p in points if p.nprobe == default]
    axes.plot(chosen.recall, chosen.qps, "*", color=COLOURS["mark"], markersize=17, zorder=5)
    percent(axes.xaxis)
    axes.yaxis.set_major_formatter(lambda value, _: short(value))
    axes.yaxis.set_minor_formatter(lambda value, _: short(value) if str(value).lstrip("0.")[:1] in "25" else "")
    axes.tick_params(which="minor", axis="y", labelsize=10, labelcolor=COLOURS["ink"])
    axes.margins(0.1, 0.16)
    label_points(figure, axes, points, chosen)
    return figure


def label_points(figure: Any, axes: Any, points: Sequence[Any], chosen: Any) -> None:
    """nprobe beside each point, where there is room; the default first."""
    figure.canvas.draw()
    taken: list[Any] = []
    for p in [chosen, points[-1], *points]:
        here = axes.transData.transform((p.recall, p.qps))
        if any(np.hypot(*(here - other)) < 26 * figure.dpi / 72 for other in taken):
            continue
        taken.append(here)
        text = f"nprobe {p.nprobe}, the default" if p is chosen else str(p.nprobe)
        left = p is chosen and p.recall > np.mean(axes.get_xlim())
        axes.annotate(text, (p.recall, p.qps), xytext=(-10 if left else 7, -16 if left else 5),
                      textcoords="offset points", ha="right" if left else "left", fontsize=10,
                      color=COLOURS["mark"] if p is chosen else COLOURS["ink"],
                      weight="bold" if p is chosen else "normal")


def waterfall(found: Any, k: int) -> Any:
    """From all true neighbours down to those that are found."""
    figure, axes = axes_of(2.9, f"of the {k} true neighbours", "", "x")
    steps = [("all true\nneighbours", 0.0, 1.0), ("codes", 1.0, found.decoded), ("estimate", found.decoded, found.estimated),
             ("lists not\nprobed", found.estimated, found.found), ("found", 0.0, found.found)]
    for i, (name, start, end) in enumerate(steps):
        whole = i in (0, len(steps) - 1)
        colour = "accent" if whole else "gain" if end >= start else "loss"
        axes.barh(i, end - start, left=start, height=0.62, color=COLOURS[colour if i else "faint"])
        change = 100 * (end - start)
        text = f"{100 * end:.1f} %" if whole else f"{change:+.1f}".replace("-", "\u2212")
        axes.text(max(start, end) + 0.012, i, text, va="center", fontsize=10)
        if i + 1 < len(steps):
            axes.plot([end, end], [i, i + 1], color=COLOURS["muted"], linewidth=0.8, linestyle=":")
    axes.set_yticks(range(len(steps)), [name for name, _, _ in steps])
    axes.invert_yaxis()
    axes.set_xlim(0, 1.14)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1])
    axes.tick_params(axis="y", length=0)
    percent(axes.xaxis)
    return figure


def histogram_of_lists(sizes: Any) -> Any:
    figure, axes = axes_of(3.1, "vectors in a list", "lists", "y")
    most = int(sizes.max(initial=1))
    width = max(1, -(-(most + 1) // 30))
    axes.hist(sizes, bins=np.arange(0, most + width + 1, width), color=COLOURS["accent"], rwidth=0.9)
    axes.axvline(sizes.mean(), color=COLOURS["mark"], linewidth=1.6)
    axes.annotate(f"mean {short(sizes.mean())}", (sizes.mean(), 1), xycoords=("data", "axes fraction"), xytext=(6, -4),
                  textcoords="offset points", color=COLOURS["mark"], fontsize=10, weight="bold", va="top")
    axes.xaxis.set_major_formatter(lambda value, _: short(value))
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.margins(y=0.18)
    return figure


def bits_by_axis(bits: Any) -> Any:
    figure, axes = axes_of(2.9, "axis, the strongest first", "bits", "y")
    axes.stairs(bits, np.arange(len(bits) + 1) + 0.5, fill=True, color=COLOURS["accent"])
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.set_ylim(0, max(1, bits.max()) + 0.6)
    return figure


def words_by_block(reach: Any) -> Any:
    figure, axes = axes_of(2.9, "block, a byte of the code each", "length of its words", "y")
    axes.bar(np.arange(1, len(reach) + 1), reach, width=0.8, color=COLOURS["accent"])
    axes.xaxis.get_major_locator().set_params(integer=True)
    return figure


def energy_by_iteration(training: Any) -> Any:
    figure, axes = axes_of(3.1, "iteration", "energy")
    steps = np.arange(1, len(training.course) + 1)
    axes.plot(steps, training.course, color=COLOURS["accent"], marker="o", markersize=4, linewidth=2)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.yaxis.set_major_formatter(lambda value, _: short(value))
    axes.margins(y=0.1)
    return figure


def bytes_spent(spent: dict[str, int], per: int) -> Any:
    """Bars of bytes, divided by `per` vectors."""
    figure, axes = axes_of(0.9 + 0.34 * len(spent), "bytes a vector" if per > 1 else "bytes", "", "x")
    total = sum(spent.values())
    for i, size in enumerate(spent.values()):
        axes.barh(i, size / per, height=0.62, color=COLOURS["accent"])
        axes.annotate(f"{short(size / per)}  ({share_text(size / total)})", (size / per, i), xytext=(5, 0),
                      textcoords="offset points", va="center", fontsize=10)
    axes.set_yticks(range(len(spent)), list(spent))
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0)
    axes.set_xlim(0, max(spent.values()) / per * 1.3)
    axes.xaxis.set_major_formatter(lambda value, _: short(value))
    return figure


def share_text(share: float) -> str:
    return "under 1 %" if 0 < share < 0.01 else f"{100 * share:.0f} %"


def styled(draw: Any, *arguments: Any) -> Any:
    """A picture in the report's style."""
    with matplotlib.rc_context(STYLE):
        return draw(*arguments)
