"""The page: words, pictures and tables put together into one HTML file without scripts."""

from __future__ import annotations

from html import escape
from typing import Any, Sequence

import numpy as np

from faiss_vlc.report import plots
from faiss_vlc.report.contents import Report
from faiss_vlc.report.style import STYLE


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def number(value: float) -> str:
    """Three digits of small numbers, all of large ones."""
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"


def speed(qps: float) -> str:
    """Three digits: no more are known."""
    return f"{float(f'{qps:.3g}'):,.0f}" if qps >= 10 else f"{qps:.2g}"


def count(n: int, one: str, many: str = "") -> str:
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def card(title: str, body: str) -> str:
    return f'<section class="card"><h2>{escape(title)}</h2>{body}</section>\n'


def figure(name: str, title: str, alt: str, reading: str, draw: Any, *arguments: Any) -> str:
    drawn = plots.svg(plots.styled(draw, *arguments), name, alt)
    return (f'<section class="card"><h2>{escape(title)}</h2><figure id="{name}">{drawn}'
            f"<figcaption>{escape(reading)}</figcaption></figure></section>\n")


def table(head: Sequence[str], rows: Sequence[Sequence[str]], chosen: int = -1) -> str:
    def row(cells: Sequence[str], i: int) -> str:
        return (f"<tr{' class=chosen' if i == chosen else ''}>" +
                "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>")
    top = "".join(f"<th scope=col>{escape(cell)}</th>" for cell in head)
    top = f"<thead><tr>{top}</tr></thead>" if top else ""
    return (f'<div class="scroll" tabindex="0"><table>{top}<tbody>' +
            "".join(row(cells, i) for i, cells in enumerate(rows)) + "</tbody></table></div>")


# --- pictures, each with what one sees in it ---

def speed_figure(r: Report) -> str:
    chosen, most = r.chosen, r.points[-1]
    assert chosen is not None
    reading = (f"With {count(chosen.nprobe, 'list')} read, the default, the index finds {percent(chosen.recall)} of the "
               f"true neighbours and answers {speed(chosen.qps)} queries a second. "
               f"With all {number(most.nprobe)} lists it finds {percent(most.recall)}, at {speed(most.qps)}.")
    return figure("speed", "Recall and speed",
                  f"Curve of {len(r.points)} points, queries a second over recall. " + reading, reading,
                  plots.recall_over_speed, r.points, r.nprobe, r.k)


def loss_figure(r: Report) -> str:
    queries = r.losses is not None and not r.by_decoded # decoded vectors don't show what codes lose
    lost, k = (r.losses, r.k) if queries else (r.training_losses, r.training_k)
    if lost is None:
        return ""
    parts = {"the codes, which keep vectors only roughly": 1 - lost.decoded,
             "the estimate of distances": lost.decoded - lost.estimated,
             f"lists that are not read ({r.nprobe} of {len(r.sizes)} are)": lost.estimated - lost.found}
    worst = max(parts, key=lambda name: parts[name])
    whose = "your queries' true neighbours are found." if queries else "held-out vectors' neighbours were found in training."
    reading = (f"{percent(lost.found)} of {whose} " +
               (f"Most of the rest is lost to {worst}." if parts[worst] > 0.0005 else "Next to nothing is lost.") +
               (" The estimate wins back some of what plain decoding misses." if lost.estimated > lost.decoded + 0.0005 else ""))
    alt = (f"Steps from all true neighbours down to those found: codes {percent(lost.decoded - 1)}, "
           f"estimate {percent(lost.estimated - lost.decoded)}, lists not read {percent(lost.found - lost.estimated)}, "
           f"found {percent(lost.found)}.")
    return figure("losses", "Where recall is lost", alt, reading, plots.waterfall, lost, k)


def list_figure(r: Report) -> str:
    sizes = r.sizes
    low, middle, high = np.quantile(sizes, [0.1, 0.5, 0.9])
    empty = int((sizes == 0).sum())
    reading = (f"Eight of ten lists hold {number(round(low))} to {number(round(high))} vectors; the largest holds "
               f"{number(sizes.max())}" + (f", and {count(empty, 'list is', 'lists are')} empty." if empty else "."))
    return figure("lists", "How full the lists are",
                  f"Histogram of the sizes of {count(len(sizes), 'list')}: mean {number(sizes.mean())}, median "
                  f"{number(middle)}. " + reading, reading, plots.histogram_of_lists, sizes)


def code_figure(r: Report) -> str:
    code = r.code
    more = (f" This is the first tier, by which lists are searched. The second has {count(r.second_size, 'byte')}; it "
            "puts the best in order." if r.second_size else "")
    if code.words:
        reach = code.reach
        reading = (f"A code has {count(len(reach), 'byte')}, one for each block of axes. The longer a block's words, the "
                   f"more of a vector its byte says: from {number(reach.min())} to {number(reach.max())}." + more)
        return figure("code", "What each byte of a code says", f"A bar for each of {count(len(reach), 'block')}. " + reading,
                      reading, plots.words_by_block, reach)
    bits, without = code.bits, int((code.bits == 0).sum())
    reading = (f"The strongest axis gets {count(int(bits.max()), 'bit')}, on average an axis gets {number(bits.mean())}" +
               (f", and {count(without, 'axis gets', 'axes get')} none." if without else
                f", and no axis gets less than {int(bits.min())}.") + more)
    return figure("code", "Bits by axis", f"Bits of each of {count(len(bits), 'axis', 'axes')}, falling. " + reading, reading,
                  plots.bits_by_axis, bits)


def energy_figure(r: Report) -> str:
    training = r.training
    if training is None or not len(training.course):
        return card("Energy by iteration", "<p>This file does not say how the energy fell from iteration to iteration: its "
                    "anchors were given to it, or it was written before files kept that.</p>")
    first, last = training.course[0], training.course[-1]
    reading = (f"In {count(len(training.course), 'iteration')} the mean squared distance between a vector and its list's "
               f"anchor went from {number(first)} to {number(last)}. A curve that is flat at its end has nothing left to gain.")
    return figure("energy", "Energy by iteration", "A line, a point an iteration. " + reading, reading,
                  plots.energy_by_iteration, training)


def bytes_figure(r: Report) -> str:
    name, size = next(iter(r.spent.items()))
    share = size / sum(r.spent.values())
    each = f"A vector takes {number(r.file_bytes / r.n)} bytes in this file, all in. " if r.n else ""
    reading = f"{each}{plots.share_text(share)} of the bytes go to {name}."
    listed = ", ".join(f"{part} {number(bytes_)}" for part, bytes_ in r.spent.items())
    return figure("bytes", "What the bytes go to", f"Bars of bytes: {listed}. " + reading, reading, plots.bytes_spent,
                  r.spent, max(1, r.n))


# --- words and tables ---

def tiles(r: Report) -> str:
    shown = [("vectors", number(r.n)), ("bytes a vector, all in", number(r.file_bytes / r.n) if r.n else "\u2013")]
    if r.n:
        shown.append(("of the size of float32", percent(r.file_bytes / (4 * r.n * r.d))))
    if r.chosen:
        shown += [(f"recall@{r.k}, by default", percent(r.chosen.recall)), ("queries a second", speed(r.chosen.qps))]
    elif r.training_losses:
        shown.append((f"recall@{r.training_k} in training", percent(r.training_losses.found)))
    cells = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in shown)
    return f'<dl class="tiles">{cells}</dl>\n'


def speed_table(r: Report) -> str:
    rows = [(f"{p.nprobe}, the default" if p.nprobe == r.nprobe else str(p.nprobe), percent(p.recall), speed(p.qps))
            for p in r.points]
    return card("Recall and speed in numbers",
                table(("lists read (nprobe)", f"recall@{r.k}", "queries a second"), rows,
                      [p.nprobe for p in r.points].index(r.nprobe)))


def loss_table(r: Report) -> str:
    columns = [(name, lost) for name, lost in (("your queries", r.losses), ("training's", r.training_losses)) if lost]
    if not columns:
        return ""
    rows = [("by decoded vectors, all lists read", "decoded"), ("by estimates, all lists read", "estimated"),
            (f"in the {r.nprobe} lists that are read", "in_lists"), ("found by a search", "found")]
    body = [(name, *(percent(getattr(lost, key)) for _, lost in columns)) for name, key in rows]
    if any(lost.product is not None for _, lost in columns):
        body.append(("by a product quantizer of as many bytes",
                     *(percent(lost.product) if lost.product is not None else "\u2013" for _, lost in columns)))
    return card("Neighbours in numbers", table(("share of the true neighbours", *(name for name, _ in columns)), body))


def facts_table(r: Report) -> str:
    sizes = r.sizes
    rows = [("kind", r.kind), ("dimensions", number(r.d)), ("metric", r.metric), ("lists", number(len(sizes))),
            ("lists read by default (nprobe)", number(r.nprobe)),
            ("vectors in a list: least, median, most",
             f"{number(sizes.min())}, {number(np.median(sizes))}, {number(sizes.max())}"),
            ("bytes of a code", number(r.code_size)),
            *([("of these for the second tier", number(r.second_size))] if r.second_size else []),
            ("of the first tier's for factors" if r.second_size else "of these for factors", number(r.code.factor_bytes)),
            ("codes of", "words" if r.code.words else "levels"), ("bytes of the file", number(r.file_bytes))]
    if r.training:
        rows += [("vectors trained on", number(r.training.vectors)), ("iterations", number(r.training.iterations)),
                 ("energy in the end", number(r.training.energy)), ("energy of held-out vectors", number(r.training.held_out))]
    if r.added.rows:
        rows.append(("rows added, and unlike the training's", f"{number(r.added.rows)}, {number(r.added.outside)}"))
    return card("The index in numbers", table((), rows))


def bytes_table(r: Report) -> str:
    total = sum(r.spent.values())
    rows = [(name, number(size), number(size / r.n) if r.n else "\u2013", percent(size / total))
            for name, size in r.spent.items()]
    return card("Bytes in numbers", table(("part of the file", "bytes", "a vector", "share"), rows))


WORDS = (
    ("recall", "The share of the true nearest neighbours that a search finds."),
    ("list", "Vectors that lie near each other, around an anchor. A search reads only some lists."),
    ("nprobe", "How many lists a search reads. More of them find more, and take longer."),
    ("code", "The bytes that stand for a vector: levels along axes, or words for blocks of axes."),
    ("factors", "Up to two bytes beside a code: how far the vector is from its anchor, and how well its code fits."),
    ("estimate", "The distance that a search computes from code and factors."),
    ("energy", "The mean squared distance between vectors and the anchors of their lists. Training lowers it."),
)


def glossary() -> str:
    return card("The words", '<dl class="words">' + "".join(f"<dt>{word}</dt><dd>{meaning}</dd>" for word, meaning in WORDS) +
                "</dl>")


def source(r: Report) -> str:
    if r.points:
        return (f"Measured with {count(r.queries, 'query', 'queries')} in one batch, on {count(r.threads, 'thread')}. {r.truth}")
    if r.training_losses and r.n:
        return "No queries were given. What is said of recall was counted in training, with held-out vectors."
    return ""


def page(r: Report) -> str:
    """The whole file."""
    title = f"Report on {r.name}"
    lead = (f"{count(r.n, 'vector')} of {count(r.d, 'dimension')} in {count(len(r.sizes), 'list')}, "
            f"{count(r.code_size, 'byte')} of code each.")
    notes = "".join(f'<p class="note" role="note">{escape(note)}</p>\n' for note in r.notes)
    pictures = (speed_figure(r) if r.points else "") + loss_figure(r)
    pictures += (list_figure(r) if r.n else "") + code_figure(r) + energy_figure(r) + bytes_figure(r)
    tables = (speed_table(r) if r.points else "") + loss_table(r) + facts_table(r) + bytes_table(r)
    return (f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>{escape(title)}</title>\n'
            f'<link rel="icon" href="data:,">\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n'
            f"<header><h1>{escape(title)}</h1><p>{lead}</p></header>\n{tiles(r)}{notes}"
            f'<p class="source">{escape(source(r))}</p>\n<div class="cards">\n{pictures}</div>\n'
            f'<h2 class="part">Numbers</h2>\n<div class="cards">\n{tables}{glossary()}</div>\n</main>\n'
            f"<footer><p>Drawn by faiss-vlc {escape(r.version)}.</p></footer>\n</body>\n</html>\n")
