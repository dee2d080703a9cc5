"""dask.distributed: an index that is scattered to workers."""

import os

import faiss
import dask
from dask.distributed import Client as Cluster

from trial import main
from workers import Workers


class Dask(Workers):
    """dask.distributed, `scatter` and `submit`"""
    package = "distributed"
    cluster = None

    def map(self, function, parts, *rest):
        if not self.cluster:
            self.cluster = Cluster(n_workers=2, threads_per_worker=1, dashboard_address=None,
                                   local_directory=self.folder)
        index = self.cluster.scatter(self.index, broadcast=True, hash=False) # each time anew
        return self.cluster.gather([self.cluster.submit(function, index, part, *rest, pure=False) for part in parts])

    def save(self):
        faiss.write_index(self.index, os.path.join(self.folder, "x"))

    def load(self):
        self.index = dask.delayed(faiss.read_index)(os.path.join(self.folder, "x")).compute(scheduler="threads")

    def close(self):
        if self.cluster:
            self.cluster.close()


if __name__ == "__main__":
    main(Dask)
