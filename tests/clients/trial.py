"""What the trials of client programs share. A trial puts the same vectors into an IVFPQ and into an IndexVLC of
as many bytes, through the client's own functions, and prints what became of both as one line of JSON.

The steps: build and search; search with a filter; delete, and find what is left; save, load and search again.
What a client doesn't offer is left out. What fails with the VLC fails the trial, and so does a recall below
IVFPQ's; unless the client's class says in `known` that the step fails, with both, and why."""

import importlib.metadata
import json
import os
import sys
import tempfile
import traceback

import numpy as np

os.environ["OMP_WAIT_POLICY"] = "passive"
import faiss # noqa: E402
import faiss_vlc # noqa: E402

D, N, K = 32, 10_000, 10
NPROBE = 8
KEYS = {"IVFPQ": "IVF64,PQ8np", "VLC": "VLC64b8"}
STEPS = ("build", "filter", "delete", "save")
_BELOW = 0.02 # how far below IVFPQ's recall the VLC's may be


def _vectors(n, seed):
    """Vectors of length 1 around 30 centres, whose dimensions differ in variance."""
    random, centres = np.random.RandomState(seed), np.random.RandomState(5).randn(30, D)
    rows = centres[random.randint(30, size=n)] + random.randn(n, D)
    rows *= np.exp(-np.arange(D) / 12)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype("float32")


BASE, QUERIES = _vectors(N, 1), _vectors(40, 2)
_ORDER = np.argsort(-(QUERIES @ BASE.T), axis=1) # length 1: by either metric


def recall(labels, left=None):
    """The share of the true neighbours, among the rows `left`, that the labels name."""
    found = 0
    for row, order in zip(labels, _ORDER):
        truth = order if left is None else order[np.isin(order, left)]
        found += len(np.intersect1d(row, truth[:K]))
    return found / K / len(QUERIES)


class Client:
    """What a trial's class has to have; build() and search() at least."""
    package = None
    known = {} # step: why it fails, with IVFPQ, too

    def __init__(self, folder, index):
        self.folder = folder
        self.index_name = index # IVFPQ or VLC

    def build(self, key):
        """Makes an index of BASE in the client, by this key."""
        raise NotImplementedError

    def search(self, queries, k):
        """Labels of the neighbours, shape (len(queries), k)."""
        raise NotImplementedError

    # filtered(queries, k, least): neighbours with labels from least on
    # delete(labels)
    # save(): into self.folder; load(): from there, in the place of what there was


def fresh_index(key, metric=faiss.METRIC_L2):
    """For clients that take an index: trained, empty."""
    index = faiss.index_factory(D, key, metric)
    index.train(BASE)
    set_nprobe(index)
    return index


def set_nprobe(index):
    faiss.extract_index_ivf(index).nprobe = NPROBE


def at_least(least):
    """Parameters of a search among labels from least on; keep them as long as the search lasts."""
    return faiss_vlc.SearchParametersVLC(nprobe=NPROBE, sel=faiss.IDSelectorRange(least, N))


def expect(condition, text):
    if not condition:
        raise AssertionError(text)


def _check(client, step, done):
    if step == "build":
        client.build(done["key"])
        done["recall"] = recall(client.search(QUERIES, K))
        expect(done["recall"] > 0.2, f"recall {done['recall']:.3f}")
    elif step == "filter":
        labels = np.asarray(client.filtered(QUERIES, K, N // 2))
        expect((labels >= N // 2).all(), "results that the filter excludes, or too few")
        found = recall(labels, np.arange(N // 2, N))
        expect(found > done["recall"] - 0.15, f"recall {found:.3f} with a filter, {done['recall']:.3f} without")
    elif step == "delete":
        gone = np.arange(0, N, 3)
        client.delete(gone)
        labels = np.asarray(client.search(QUERIES, K))
        expect(not np.isin(labels, gone).any(), "results that were deleted")
        found = recall(labels, np.setdiff1d(np.arange(N), gone))
        expect(found > done["recall"] - 0.1, f"recall {found:.3f} after deleting, {done['recall']:.3f} before")
    else:
        before = np.asarray(client.search(QUERIES, K))
        client.save()
        client.load()
        expect((np.asarray(client.search(QUERIES, K)) == before).all(), "other results after loading")


def _offers(client, step):
    return {"filter": "filtered"}.get(step, step) in dir(client)


def _try_step(client, step, done):
    """Whether it worked, written to done."""
    try:
        _check(client, step, done)
        done[step] = "yes"
    except Exception as error: # what a client may throw is its own affair
        done[step] = f"{type(error).__name__}: {error}".splitlines()[0][:300]
        if step not in client.known:
            traceback.print_exc()
    return done[step] == "yes"


def _try(kind, keys, name):
    done = {"key": keys[name]}
    with tempfile.TemporaryDirectory() as folder:
        client = kind(folder, name)
        for step in STEPS:
            if not _offers(client, step):
                done[step] = "-"
            elif not _try_step(client, step, done):
                if step == "build":
                    break
                client.build(keys[name]) # for the next step, as this one may have left it half done
        if hasattr(client, "close"):
            client.close()
    return done


def run(kind, keys=KEYS):
    """Tries a client's class with both indexes; the exit code of the trial."""
    done = {name: _try(kind, keys, name) for name in keys}
    wrong = []
    for step in STEPS:
        results = {name: one.get(step, "not reached") for name, one in done.items()}
        if step in kind.known:
            wrong += [f"{step} with {name}: expected to fail ({kind.known[step]}), did not"
                      for name, result in results.items() if result == "yes"]
        elif results["VLC"] not in ("yes", "-"):
            wrong.append(f"{step}: {results['VLC']}")
    ours, theirs = done["VLC"].get("recall", 0), done["IVFPQ"].get("recall", 0)
    if ours < theirs - _BELOW:
        wrong.append(f"recall {ours:.3f}, of IVFPQ {theirs:.3f}")
    print(json.dumps({"client": kind.package, "name": kind.__doc__.splitlines()[0], "known": kind.known,
                      "version": importlib.metadata.version(kind.package), "done": done, "wrong": wrong}))
    return 1 if wrong else 0


def main(*kinds, keys=KEYS):
    sys.exit(max(run(kind, keys) for kind in kinds))
