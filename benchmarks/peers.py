"""What the benchmarks share: the peers, FAISS's own environment, workers, facts about the machine."""

import json
import math
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
BUILD = pathlib.Path(os.environ.get("VLC_BUILD", ROOT / "build" / "release"))
BENCH = ROOT / "build" / "benchmarks"  # peers' indexes, results
VENV = ROOT / "build" / "faiss-venv"
FAISS = "faiss-cpu==1.15.1"
# Other libraries, each of which may have no wheel for a machine: then it is left out.
LIBRARIES = {"hnswlib": "hnswlib==0.8.0", "scann": "scann==1.4.2", "svs": "scalable-vs==0.5.0"}
NPROBES = [1, 2, 4, 8, 16, 32, 64, 128]

# Peers by their FAISS factory strings without the lists; a class holds what is compared at about the
# same bytes. Sets that aren't named take those of the nearest dimension.
CLASSES = {
    "sift": {
        "16 B": ["PQ16", "OPQ16,PQ16", "PQ32x4fs"],
        "32 B": ["PQ32", "OPQ32,PQ32", "PQ64x4fs", "RaBitQ", "RaBitQfs"],
        "64 B": ["PQ64", "OPQ64,PQ64", "PQ128x4fs", "RaBitQfs2", "SQ4"],
    },
    "text": {
        "24 B": ["PQ24", "OPQ24,PQ24", "PQ48x4fs"],
        "48 B": ["PQ48", "OPQ48,PQ48", "PQ96x4fs", "RaBitQ", "RaBitQfs"],
        "96 B": ["PQ96", "OPQ96,PQ96", "PQ192x4fs", "RaBitQfs2"],
        "192 B": ["PQ192", "SQ4", "RaBitQfs4"],
    },
}
LISTS = {"sift": 2048, "text": 1024}


def enter_venv():
    """Goes on in build/faiss-venv, which holds FAISS from PyPI and nothing of ours."""
    if pathlib.Path(sys.prefix) == VENV:
        return
    os.execv(make_venv(), [str(make_venv()), *sys.argv])


def make_venv():
    """The Python of build/faiss-venv, made if it isn't there."""
    python = VENV / "bin" / "python"
    if install(FAISS):
        return python
    raise SystemExit(f"{FAISS} could not be installed into {VENV}")


def install(package):
    """Whether build/faiss-venv has the package, which is installed if need be."""
    python, noted = VENV / "bin" / "python", VENV / f"{package}.installed"
    if noted.exists():
        return True
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
    done = subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", package])
    if done.returncode == 0:
        noted.touch()
    return done.returncode == 0


def peers_of(data, wanted=None):
    """(class, peer) pairs of a data folder; wanted limits them by class or peer."""
    classes = CLASSES.get(data.name, CLASSES["text" if "384" in data.name else "sift"])
    pairs = [(size, peer) for size, peers in classes.items() for peer in peers]
    return [pair for pair in pairs if not wanted or pair[0] in wanted or pair[1] in wanted]


def machine():
    """CPU, flags that matter, cores, memory, commit."""
    cpu = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8")
    flags = re.search(r"^flags\s*: (.*)$", cpu, re.M).group(1).split()
    family, model = (re.search(rf"^{key}\s*: (.*)$", cpu, re.M).group(1) for key in ("cpu family", "model"))
    memory = int(re.search(r"MemTotal:\s+(\d+)", pathlib.Path("/proc/meminfo").read_text()).group(1))
    commit, dirty = "", ""
    if shutil.which("git"):  # a machine lent for measuring may have none
        git = ["git", "-C", str(ROOT)]
        commit = subprocess.run(git + ["rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout
        dirty = subprocess.run(git + ["status", "--porcelain", "--", "faiss_vlc", "opencl", "CMakeLists.txt"],
                               capture_output=True, text=True).stdout
    return {
        "cpu": re.search(r"^model name\s*: (.*)$", cpu, re.M).group(1) + f" (family {family}, model {model})",
        "flags": [f for f in ("avx2", "avx512bw", "avx512_vnni", "avx512vbmi", "avx512_bf16", "amx_int8")
                  if f in flags],
        "cores": len(os.sched_getaffinity(0)),
        "machine_cores": os.cpu_count(),
        "memory_gib": round(memory / 2**20),
        "commit": commit.strip() + ("+" if dirty.strip() else ""),
        "date": time.strftime("%Y-%m-%d"),
    }


def command_line():
    """The command as typed, with data where make_datasets.py puts them unless told otherwise."""
    program = pathlib.Path(sys.argv[0]).resolve().relative_to(ROOT).as_posix()
    words = [f"build/datasets/{pathlib.Path(word).name}" if (pathlib.Path(word) / "base.npy").exists() else word
             for word in sys.argv[1:]]
    return shlex.join([program, *words])


def run_json(*command, env=None):
    """Runs a program that prints one JSON object."""
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True,
                          env={**os.environ, **(env or {})})
    if done.returncode != 0:
        raise SystemExit(f"{command[0]} {command[1]}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def is_current(made, *sources):
    """Whether something kept is there and not older than what it was made of."""
    return made.exists() and all(made.stat().st_mtime >= source.stat().st_mtime for source in sources)


def vlc_index(data, lists, size, options=()):
    """An IndexVLC of the set, made by this build's `vlc`: (file, its facts). Kept until vlc or the set changes."""
    folder = BENCH / "vlc"
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{data.name}-{lists}-{size}" + "".join(options).replace("/", "_")
    path, facts = folder / f"{name}.vlc", folder / f"{name}.json"
    if not is_current(facts, BUILD / "vlc", data / "base.npy"):
        made = run_json(BUILD / "vlc", "index", "--emb", data / "base.npy", "--bytes", size,
                        *(["--m", lists] if lists else []), *options, "--out", path, "--json")
        facts.write_text(json.dumps({**made, "index": os.path.relpath(path, ROOT)}))
    return path, json.loads(facts.read_text())


def shape(data):
    """(n, d) of a set's base.npy, from its header."""
    header = (data / "base.npy").open("rb").read(512)
    return tuple(int(n) for n in re.search(rb"'shape': \((\d+), (\d+)\)", header).groups())


def vlc_of_size(data, lists, limit, options=()):
    """The largest IndexVLC whose file takes at most `limit` bytes a vector."""
    n, d = shape(data)
    beside = 4 + (lists * (d + 8) + 2 * d * d) / n  # ids, anchors, frame: a first guess
    size, found, low, high = max(1, min(int(limit - beside), d + 2)), None, 0, d + 3  # 8 bits a dimension, factors
    while high - low > 1:
        path, facts = vlc_index(data, lists, size, options)
        spare = math.floor(limit - facts["bytes_per_vector"])
        if spare >= 0:
            low, found = size, (path, facts)
        else:
            high = size
        if spare == 0 or high == 1:
            break
        size = min(max(size + spare, low + 1), high - 1)
    if not found:
        raise SystemExit(f"{data.name}: no IndexVLC of {limit:.1f} bytes a vector")
    return found


class OtherLoad:
    """How many cores other processes (or the host) took while workers or finished children measured."""

    def __init__(self, *workers):
        self.workers = workers
        self.start = time.monotonic(), self.busy()

    def busy(self):
        fields = [int(f) for f in pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        used = sum(fields) - fields[3] - fields[4]  # all but idle and waiting
        used -= (os.times().children_user + os.times().children_system) * os.sysconf("SC_CLK_TCK")
        for worker in self.workers:
            own = pathlib.Path(f"/proc/{worker.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
            used -= int(own[11]) + int(own[12])
        return used / os.sysconf("SC_CLK_TCK")

    def cores(self):
        return round((self.busy() - self.start[1]) / (time.monotonic() - self.start[0]), 2)


class Worker:
    """A process that measures searches; it sleeps while another one's turn is."""

    def __init__(self, *command):
        env = {**os.environ, "OMP_NUM_THREADS": str(len(os.sched_getaffinity(0)))}
        self.process = subprocess.Popen([str(c) for c in command], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True, env=env)
        self.facts = self.answer()

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.process.args[0]} ended with status {self.process.wait()}")
        return json.loads(line)

    def search(self, nprobe, threads, batch, seconds, k=10, name="all"):
        self.pin(threads)
        time.sleep(0.02)  # the other worker's threads may spin for a while after its turn
        self.process.stdin.write(f"{nprobe} {threads} {batch} {seconds} {k} {name}\n")
        self.process.stdin.flush()
        return self.answer()

    def pin(self, threads):
        """One thread stays on the last core, more may use all; whatever library made them."""
        cores = os.sched_getaffinity(0)
        for task in pathlib.Path(f"/proc/{self.process.pid}/task").iterdir():
            try:
                os.sched_setaffinity(int(task.name), {max(cores)} if threads == 1 else cores)
            except ProcessLookupError:
                pass  # it has ended

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def vlc_worker(index, data, *options):
    return Worker(BUILD / "benchmarks" / "bench_worker", "search", "--idx", index, "--queries",
                  data / "query.npy", "--gt", data / "gt.npy", *options)


def library_worker(peer, data, *options):
    return Worker(VENV / "bin" / "python", ROOT / "benchmarks" / "library_worker.py", "search", data, peer, *options)


def faiss_worker(peer, data, lists, *options):
    return Worker(VENV / "bin" / "python", ROOT / "benchmarks" / "faiss_worker.py", "search", data, peer,
                  "--lists", lists, *options)
