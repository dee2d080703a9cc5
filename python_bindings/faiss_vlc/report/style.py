"""The page's looks: light and dark, from a telephone to a wide screen."""

STYLE = """
:root {
  color-scheme: light dark;
  --font: system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif;
  --page: #f6f7f9; --card: #ffffff; --edge: #e2e6ec; --ink: #1d2530; --muted: #5d6878; --grid: #e4e8ee;
  --accent: #1f77b4; --mark: #c22525; --gain: #2c8a3a; --loss: #d9822b; --faint: #c3ccd8; --note: #fff6e5;
  --note-edge: #f0d9a8;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #14181e; --card: #1c222b; --edge: #2d3541; --ink: #e6eaf0; --muted: #9aa6b6; --grid: #2d3541;
    --accent: #5aa9e6; --mark: #ff8a80; --gain: #6fc77a; --loss: #f0a356; --faint: #465162; --note: #2e2818;
    --note-edge: #5d4f26;
  }
}
@media print {
  :root { --page: #ffffff; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.55 var(--font); overflow-wrap: break-word; }
main, footer { max-width: 72rem; margin: 0 auto; padding: 0 1rem; }
header { padding: 2rem 0 0.5rem; }
h1 { font-size: clamp(1.5rem, 4.5vw, 2.2rem); line-height: 1.2; margin: 0 0 0.4rem; }
h2 { font-size: 1.15rem; margin: 0 0 0.6rem; line-height: 1.3; }
p { margin: 0 0 0.7rem; }
header p, .source { color: var(--muted); max-width: 46rem; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: 0.8rem; margin: 1rem 0; padding: 0; }
.tiles div { background: var(--card); border: 1px solid var(--edge); border-radius: 12px; padding: 0.8rem 1rem; }
.tiles dt { color: var(--muted); font-size: 0.85rem; line-height: 1.3; }
.tiles dd { margin: 0.1rem 0 0; font-size: 1.5rem; font-weight: 650; line-height: 1.25; }
.note { background: var(--note); border: 1px solid var(--note-edge); border-radius: 12px; padding: 0.8rem 1rem; margin: 0 0 0.8rem; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(26rem, 100%), 1fr)); gap: 1rem; }
.card { background: var(--card); border: 1px solid var(--edge); border-radius: 12px; padding: 1.1rem 1.2rem; margin: 0 0 1rem; min-width: 0; }
.cards .card { margin: 0; }
figure { margin: 0; }
figure svg { display: block; width: 100%; max-width: 36rem; height: auto; margin: 0 auto; }
figcaption { margin-top: 0.7rem; color: var(--ink); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: 0.93rem; }
th, td { padding: 0.3rem 0.6rem; border-bottom: 1px solid var(--edge); text-align: right; white-space: nowrap; }
th { color: var(--muted); font-weight: 600; }
th:first-child, td:first-child { text-align: left; white-space: normal; padding-left: 0; }
tr.chosen td { color: var(--mark); font-weight: 650; }
dl.words { display: grid; grid-template-columns: max-content 1fr; gap: 0.35rem 1rem; margin: 0; }
dl.words dt { font-weight: 650; }
dl.words dd { margin: 0; }
h2.part { margin: 1.8rem 0 0.8rem; font-size: 1.3rem; }
footer { color: var(--muted); font-size: 0.88rem; padding-top: 0.5rem; padding-bottom: 2rem; }
@media (max-width: 30rem) {
  .card { padding: 0.9rem 0.8rem; }
  dl.words { grid-template-columns: 1fr; gap: 0; }
  dl.words dd { margin-bottom: 0.5rem; }
}
"""
