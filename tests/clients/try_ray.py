"""Ray: an index in its object store."""

import os

import faiss
import ray

from trial import main
from workers import Workers


class Ray(Workers):
    """ray, `put` and `remote`"""
    package = "ray"

    def map(self, function, parts, *rest):
        if not ray.is_initialized():
            here = os.path.dirname(os.path.abspath(__file__))
            path = os.pathsep.join(filter(None, (here, os.environ.get("PYTHONPATH"))))
            ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=100_000_000,
                     runtime_env={"env_vars": {"PYTHONPATH": path}})
        task, index = ray.remote(function), ray.put(self.index)
        return ray.get([task.remote(index, part, *rest) for part in parts])

    def save(self):
        faiss.write_index(self.index, os.path.join(self.folder, "x"))

    def load(self):
        self.index = faiss.read_index(os.path.join(self.folder, "x"))


if __name__ == "__main__":
    main(Ray)
