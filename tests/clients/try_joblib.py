"""joblib: an index in files and in workers, which import faiss_vlc only as they unpickle."""

import os

import joblib
import numpy as np

import faiss_vlc
from trial import NPROBE, main
from workers import Workers, search_part


class Joblib(Workers):
    """joblib, `Parallel` and `dump`"""
    package = "joblib"

    def map(self, function, parts, *rest):
        return joblib.Parallel(n_jobs=2)(joblib.delayed(function)(self.index, part, *rest) for part in parts)

    def search(self, queries, k): # with parameters, which are pickled
        parameters = faiss_vlc.SearchParametersVLC(nprobe=NPROBE)
        return np.concatenate(self.map(search_part, np.array_split(queries, 3), k, parameters))

    def save(self):
        joblib.dump(self.index, os.path.join(self.folder, "x"), compress=3)

    def load(self):
        self.index = joblib.load(os.path.join(self.folder, "x"))


if __name__ == "__main__":
    main(Joblib)
