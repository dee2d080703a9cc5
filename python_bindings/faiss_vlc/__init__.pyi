import enum
import os
from typing import Any, Callable, Union

import faiss
import numpy as np
import numpy.typing as npt

__version__: str
FAISS_VERSION: str

class AnchorGrid(enum.IntEnum):
    int8 = 0
    float16 = 1
    automatic = 2

class FrameKind(enum.IntEnum):
    principal = 0
    identity = 1

class Robust(enum.IntEnum):
    none = 0
    huber = 1
    trim = 2

class VLCParameters:
    m: int
    bits_per_dim: float
    bytes: int
    grid: int
    frame: int
    frames: int
    device: str
    work_group: int
    seed: int
    max_points_per_anchor: int
    held_out: float
    iterations: int
    candidates: int
    first_share: float
    neighbours: int
    start_temperature: float
    end_temperature: float
    size_bias: float
    random_bias: float
    robust: int
    kappa: float
    step: float
    max_step: float
    merge_fraction: float
    split_factor: float
    maintain_until: float
    stop_changes: float
    tilt: float
    t1: float
    t2: float
    c: float
    rank_bias: float
    coverage: float
    checkpoint: str
    checkpoint_every: int
    resume: str
    dump: str
    def __init__(
            self, *,
            m: int = ..., bits_per_dim: float = ..., bytes: int = ..., grid: int = ..., frame: int =
            ..., frames: int = ..., device: str = ..., work_group: int = ..., seed: int = ..., max_points_per_anchor:
            int = ..., held_out: float = ..., iterations: int = ..., candidates: int = ...,
            first_share: float = ..., neighbours: int = ...,
            start_temperature: float = ..., end_temperature: float = ..., size_bias: float = ...,
            random_bias: float = ..., robust: int = ..., kappa: float = ..., step: float = ..., max_step: float = ...,
            merge_fraction: float = ..., split_factor: float = ..., maintain_until: float = ...,
            stop_changes: float = ..., tilt: float = ..., t1: float = ..., t2: float = ..., c: float
            = ..., rank_bias: float = ..., coverage: float = ..., checkpoint: str = ..., checkpoint_every: int = ...,
            resume: str = ..., dump: str = ...) -> None: ...
    def to_dict(self) -> dict[str, Any]: ...
    def check(self, d: int) -> None: ...
    def code_size(self, d: int) -> int: ...

class SearchParametersVLC(faiss.SearchParametersIVF):
    max_probes: int
    def __init__(self, *, max_probes: int = 0, nprobe: int = 1, max_codes: int = 0, sel: faiss.IDSelector = ...,
                 **more: Any) -> None: ...

class IndexVLC(faiss.IndexIVFFlat):
    parameters: VLCParameters
    max_probes: int
    search_device: str
    trained_on: str
    def __init__(self, d: Union[int, "IndexVLC"], m: Union[int, VLCParameters] = 0, bits_per_dim: float = 2.0,
                 metric: int = ..., *, parameters: VLCParameters | None = None) -> None: ...
    def assign_lists(self, x: npt.ArrayLike) -> npt.NDArray[np.int64]: ...
    def memory(self) -> int: ...
    def train_distributed(self, x: npt.ArrayLike, rank: int, ranks: int,
                          all_reduce: Callable[[npt.NDArray[np.int64]], Any]) -> None: ...
    def replace_invlists(self, invlists: faiss.InvertedLists, own: bool = False) -> None: ...

class ParameterSpace(faiss.ParameterSpace):
    def set_index_parameter(self, index: faiss.Index, name: str, value: float) -> None: ...
    def set_index_parameters(self, index: faiss.Index, parameters: Union[str, int]) -> None: ...

def devices() -> list[str]: ...
def index_factory(d: int, description: str, metric: int = ..., own_invlists: bool = True) -> faiss.Index: ...
def read_index(source: Union[str, os.PathLike[str], faiss.IOReader], io_flags: int = 0) -> faiss.Index: ...
def write_index(index: faiss.Index, target: Union[str, os.PathLike[str], faiss.IOWriter],
                io_flags: int = 0) -> None: ...
def clone_index(index: faiss.Index) -> faiss.Index: ...
def downcast_index(index: faiss.Index) -> faiss.Index: ...
def extract_index_ivf(index: faiss.Index) -> faiss.IndexIVF: ...
def upgrade(index: faiss.Index) -> faiss.Index: ...
