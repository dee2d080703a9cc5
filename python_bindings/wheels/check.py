"""check.py <version of faiss-cpu> [--refused]: what every wheel has to do where it was just installed.

It runs itself again in new processes: without OpenCL's library, and as this machine is. The files that both write are
equal, whatever devices there are. --refused: the wheel was built with another FAISS's headers, so its import has to
fail and say what to do."""

import hashlib
import importlib.metadata
import os
import pathlib
import subprocess
import sys
import tempfile

SAMPLE = pathlib.Path(__file__).resolve().parents[2] / "tests" / "data" / "sift20k"
KEYS = "VLC64b32", "IDMap2,PCA32,VLC16b8"


def work():
    """The README's lines with several keys; prints the hash of what they write."""
    import faiss, faiss_vlc # noqa: E401
    import numpy as np

    x = np.load(SAMPLE / "base.npy").astype("float32")
    queries = np.load(SAMPLE / "query.npy").astype("float32")
    near = np.load(SAMPLE / "gt.npy")[:, :1]
    for key in KEYS:
        index = faiss.index_factory(x.shape[1], key)
        index.train(x)
        (index.add if "IDMap" not in key else lambda rows: index.add_with_ids(rows, np.arange(len(rows))))(x)
        faiss.extract_index_ivf(index).nprobe = 16
        labels = index.search(queries, 10)[1]
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder, "check.vlc")
            faiss.write_index(index, str(file))
            again = faiss.read_index(str(file))
            assert (again.search(queries, 10)[1] == labels).all()
            written = file.read_bytes()
        assert len(written) > len(x) * 8, len(written)
        print(key, hashlib.sha256(written).hexdigest())
        found = (labels == near).any(1).mean()
        assert found > .5, (key, found)
    print("devices:", ", ".join(faiss_vlc.devices()) or "none", file=sys.stderr)


def run(**environment):
    done = subprocess.run([sys.executable, "-I", __file__], check=True, stdout=subprocess.PIPE, text=True,
                          env={**os.environ, **environment})
    return done.stdout


def refused(version):
    """The import fails, though faiss-cpu's version is the right one, and its message is of use."""
    done = subprocess.run([sys.executable, "-I", "-c",
                           "import faiss; print(faiss.__version__, flush=True); import faiss_vlc"],
                          check=False, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    said = done.stderr.splitlines()[-1] if done.stderr else "nothing"
    assert done.returncode == 1 and done.stdout == version + "\n", (done.returncode, done.stdout, said)
    for part in ("ImportError: faiss_vlc ", "was compiled with headers that are not those of ", f"(FAISS {version}): ",
                 "This FAISS is PyPI's own, so the headers were wrong ones. Build faiss_vlc anew with the right ones",
                 f"python_bindings/wheels/build.py {version} <"):
        assert part in said, (part, said)
    print(said)


def main(version, *options):
    required = importlib.metadata.requires("faiss-vlc")
    assert f"faiss-cpu=={version}" in required, required
    if options == ("--refused",):
        refused(version)
        return
    assert not options, options
    with tempfile.TemporaryDirectory() as folder: # a library that cannot be opened, found before any other
        pathlib.Path(folder, "libOpenCL.so.1").touch()
        bare = run(LD_LIBRARY_PATH=folder)
        assert bare == run(LD_LIBRARY_PATH=folder, VLC_DEVICE="reference")
    assert bare == run()
    print(bare, end="")


if __name__ == "__main__":
    main(*sys.argv[1:]) if len(sys.argv) > 1 else work()
