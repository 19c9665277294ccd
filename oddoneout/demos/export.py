"""Export to Minari, for other people's learners."""

from collections.abc import Iterable, Iterator
from typing import Any

import gymnasium
import numpy as np

from oddoneout.demos.storage import Dataset
from oddoneout.demos.trajectory import Trajectory


def export_minari(dataset: Dataset, dataset_id: str) -> Any:
    """Write the set as a Minari dataset (in Minari's own folder) and return that.

    Pictures are stored raw, not in Minari's lossy default encoding. Explanations, labels, trials
    and explaining phases are found in ``infos``. Minari wants one observation more than there
    are actions; the one after the last action is not part of a demonstration, so the last one
    decided on stands there twice.

    What this call has begun is removed when it fails. If the process is killed, a part of the
    dataset stays, which Minari lists: delete it (``minari delete ID``). Call it once at a time
    for an id.

    Raises:
        ModuleNotFoundError: if Minari is not installed.
        ValueError: if Minari already has a dataset of that id, or does not allow the id.
    """
    import minari

    manifest = dataset.manifest
    if dataset_id in minari.list_local_datasets():
        raise ValueError(
            f"Minari already has a dataset {dataset_id!r}; choose another id, or delete that one "
            f"(perhaps what a killed export left): minari delete {dataset_id}"
        )
    env = gymnasium.make(manifest.env_id, disable_env_checker=True, **manifest.env_args)
    try:
        return minari.create_dataset_from_buffers(
            dataset_id,
            episodes(dataset),  # pyright: ignore[reportArgumentType]  (iterated once, in order)
            env=env,
            algorithm_name=manifest.policy,
            description=(
                f"{manifest.policy} ({dict(manifest.policy_args)}) in {manifest.env_id}, "
                f"seed {manifest.seed}. Standing explanations are in infos."
            ),
            requirements=[f"{name}=={manifest.versions[name]}" for name in ("oddoneout", "mujoco")],
            jpeg_encoding=False,
        )
    except BaseException:
        if dataset_id in minari.list_local_datasets():
            minari.delete_dataset(dataset_id)
        raise
    finally:
        env.close()


def episodes(trajectories: Iterable[Trajectory]) -> Iterator[Any]:
    """Each trajectory as Minari takes it (an ``EpisodeBuffer``)."""
    from minari.data_collector import EpisodeBuffer

    for index, trajectory in enumerate(trajectories):
        terminations, truncations = _endings(trajectory)
        seen, told = trajectory.seen, trajectory.told
        yield EpisodeBuffer(
            id=index,
            seed=trajectory.seed,
            observations={
                "image": _one_more(seen.images),
                "instruction": _one_more(seen.instructions),
            },
            actions=seen.actions.astype(np.int64),  # pyright: ignore[reportArgumentType]
            rewards=seen.rewards.astype(np.float64),  # pyright: ignore[reportArgumentType]
            terminations=terminations,  # pyright: ignore[reportArgumentType]
            truncations=truncations,  # pyright: ignore[reportArgumentType]
            infos={
                "explanation": [*told.explanations, told.explanations[-1]],
                "label": _one_more(told.labels),
                "trial": _one_more(told.trials),
                "explaining": _one_more(told.explaining),
            },
        )


def _one_more(rows: np.ndarray) -> np.ndarray:
    return np.concatenate([rows, rows[-1:]])


def _endings(trajectory: Trajectory) -> tuple[np.ndarray, np.ndarray]:
    """Terminations and truncations: an episode ends by explaining its last choice, or is cut."""
    last = np.arange(len(trajectory)) == len(trajectory) - 1
    tested = bool(trajectory.choices) and trajectory.choices[-1].test
    explained = tested and bool(trajectory.told.explaining[-1])
    return last & explained, last & (not explained)
