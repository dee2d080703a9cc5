"""The cells of the notebooks here run one after the other, in a folder of their own. What they draw is not shown.
Skipped without matplotlib."""

import contextlib
import importlib.util
import io
import json
import os
import pathlib
import sys
import tempfile

if importlib.util.find_spec("matplotlib") is None:
    print("skipped: the notebook draws with matplotlib, which is not installed")
    sys.exit(77)

os.environ["MPLBACKEND"] = "Agg"
HERE = pathlib.Path(__file__).resolve().parent
os.environ.setdefault("VLC_TEST_DATA", str(HERE.parent / "data"))


def code_cells(path):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert notebook["nbformat"] == 4, notebook["nbformat"]
    for cell in notebook["cells"]:
        assert isinstance(cell["source"], list) and cell["cell_type"] in ("code", "markdown"), cell
        if cell["cell_type"] == "code":
            assert not cell["outputs"] and cell["execution_count"] is None, "outputs are not kept: clear them"
            yield "".join(cell["source"])


def run(path):
    """What its cells printed. A cell that fails ends it, with the cell's own lines in the trace."""
    known, said = {"__name__": "__main__"}, io.StringIO()
    for number, source in enumerate(code_cells(path), 1):
        name = f"{path.name}, code cell {number}"
        try:
            with contextlib.redirect_stdout(said):
                exec(compile(source, name, "exec"), known)
        except BaseException:
            print(said.getvalue(), f"{name} failed:", source, sep="\n", file=sys.stderr)
            raise
    return said.getvalue(), known


def main():
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        said, known = run(HERE / "tour.ipynb")
        print(said)
        recalls = {key: [reached for reached, _ in points] for key, points in known["curves"].items()}
        assert recalls["VLC256b32"][-1] > recalls["IVF256,PQ64x4fs"][-1] > 0.3, recalls
        assert "<svg" in pathlib.Path("tour.html").read_text(encoding="utf-8")
        os.chdir("/")


if __name__ == "__main__":
    main()
