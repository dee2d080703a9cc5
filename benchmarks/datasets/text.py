"""Embeddings of WordNet's glosses and of Debian's package descriptions."""

import functools
import hashlib
import re
import subprocess
import time

import numpy as np

import minilm
from common import QUERIES, copy_licences, finish, run_parts, save, unpack_packages, write_text

MAX_TOKENS = 24  # with the two that mark start and end: keeps it to minutes
PART = 4096      # sentences
BATCH = 64


def glosses(folder):
    """Definitions and examples, each a text of its own."""
    for name in ("noun", "verb", "adj", "adv"):
        path = folder / "wordnet-base/usr/share/wordnet" / f"data.{name}"
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith("  "):  # the licence
                continue
            for text in re.split(r';\s*(?=")', line.split(" | ", 1)[1]):
                yield text


def fetch_descriptions(folder):
    """The mirror's English descriptions, into package lists of our own."""
    done = folder / "apt" / "done"
    if not done.exists():
        for name in ("lists/partial", "cache"):
            (folder / "apt" / name).mkdir(parents=True, exist_ok=True)
        root = (folder / "apt").resolve()
        subprocess.run(["apt-get", "update", "-qq", "-o", "Acquire::Languages=en", "-o", f"Dir::State={root}/",
                        "-o", "Dir::State::status=/dev/null", "-o", f"Dir::Cache={root}/cache"], check=True)
        done.touch()
    return sorted((folder / "apt" / "lists").glob("*_i18n_Translation-en*"))


def descriptions(files):
    """The short description of each package, and each paragraph of its long one."""
    for path in files:
        text = subprocess.run(["/usr/lib/apt/apt-helper", "cat-file", path], check=True,
                              capture_output=True).stdout.decode("utf-8")
        for entry in text.split("\n\n"):
            _, found, description = entry.partition("\nDescription-en: ")
            if not found:
                continue
            short, _, long = description.partition("\n")
            yield short
            for paragraph in re.split(r"^ \.\s*$", long, flags=re.M):
                if not re.search(r"^  |^ [*-] ", paragraph, flags=re.M):  # lists and tables
                    yield " ".join(paragraph.split())


def collect(folder, n):
    """n distinct texts, chosen and ordered by hash so that the choice is even and repeatable."""
    unpack_packages(["wordnet-base"], folder)
    distinct = {}
    for texts in (glosses(folder), descriptions(fetch_descriptions(folder))):
        for text in texts:
            text = text.strip().strip('"')
            key = " ".join(re.findall(r"[a-z]+", text.lower()))  # not one text with other numbers
            if len(key) >= 15:
                distinct.setdefault(key[:120], text)
    order = sorted(distinct.items(), key=lambda item: hashlib.sha256(item[0].encode()).digest())
    if len(order) < n:
        print(f"text: expected {n} texts, found {len(order)}")
    return [text for _, text in order[:n]]


@functools.cache
def model():
    return minilm.MiniLM(), minilm.load_tokenizer(MAX_TOKENS)


def embed(parts, part):
    number, texts = part
    network, tokenizer = model()
    tokens = [encoding.ids for encoding in tokenizer.encode_batch(texts)]
    rows = np.empty((len(texts), 384), dtype=np.float16)
    lengths = np.array([len(ids) for ids in tokens])
    for length in np.unique(lengths):
        same = np.flatnonzero(lengths == length)
        for first in range(0, len(same), BATCH):
            batch = same[first:first + BATCH]
            rows[batch] = network.embed(np.array([tokens[i] for i in batch]))
    save(parts / f"{number:04}.npy", rows)


def make(arguments):
    deadline = time.monotonic() + arguments.seconds
    out = arguments.out / "text"
    folder = arguments.out / "packages"
    parts = out / "parts"
    parts.mkdir(parents=True, exist_ok=True)
    kept = out / "texts.txt"
    if not kept.exists():
        write_text(kept, "\n".join(collect(folder, arguments.n + QUERIES)))
    texts = kept.read_text(encoding="utf-8").split("\n")
    cuts = [(i // PART, texts[i:i + PART]) for i in range(0, len(texts), PART)]
    todo = [cut for cut in cuts if not (parts / f"{cut[0]:04}.npy").exists()]
    if not run_parts(functools.partial(embed, parts), todo, arguments.jobs, deadline):
        return False

    rows = np.vstack([np.load(parts / f"{number:04}.npy") for number, _ in cuts])
    rows = rows[np.sort(np.unique(rows, axis=0, return_index=True)[1])]
    if not (out / "base.npy").exists():
        save(out / "query.npy", rows[:QUERIES])
        save(out / "base.npy", rows[QUERIES:])
    versions = unpack_packages(["wordnet-base"], folder)
    copy_licences(folder, ["wordnet-base"], out / "licences")
    finish(out, f"""# Embeddings of glosses and package descriptions

Made by benchmarks/datasets/make_datasets.py: {len(rows) - QUERIES} embeddings and {QUERIES} queries of \
{len(texts)} distinct texts (texts.txt: queries first), at most {MAX_TOKENS} tokens of each.

- Texts: WordNet 3.0 (wordnet-base {versions['wordnet-base']}, WordNet licence, licences/) and the English package
  descriptions of the Debian mirror that apt is set up for (each under the terms of its package).
- Model: sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0) as carried by {minilm.PACKAGE} of PyPI (MIT),
  computed in float32 by minilm.py and stored as float16.
""")
    return True
