"""First-person 3D odd-one-out rooms that speak, as Gymnasium environments.

Importing the package registers the ids of every level and loads neither mujoco nor torch.
"""

from importlib.metadata import PackageNotFoundError, version

import gymnasium

from oddoneout.rules.levels import CATALOGUE

try:
    __version__ = version("oddoneout")
except PackageNotFoundError:  # a checkout that was never installed
    __version__ = "0+unknown"

for _level in CATALOGUE.values():
    if _level.id not in gymnasium.registry:
        gymnasium.register(
            _level.id,
            entry_point="oddoneout.env:OddOneOutEnv",
            vector_entry_point="oddoneout.vector:make",
            kwargs={"level": _level.name},
        )
del _level
