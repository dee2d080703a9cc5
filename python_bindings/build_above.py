"""Builds the project above this folder, where pip starts: `pip install ./python_bindings` is `pip install .`"""

import os

os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

from scikit_build_core.build import * # noqa: E402, F403: the hooks look for pyproject.toml where they are
