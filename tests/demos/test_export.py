import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from oddoneout.demos.collection import Recipe
from oddoneout.demos.export import episodes, export_minari
from oddoneout.demos.storage import Dataset
from tests.demos.fakes import make_set

pytest.importorskip("minari", reason="the export is read back by Minari, which is not installed")
pytest.importorskip("h5py", reason="Minari stores in HDF5, and h5py is not installed")


@pytest.fixture
def dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    recipe = Recipe("OddOneOut/Deconfounded-v0", 5, seed=1, env_args={"image_size": [24, 32]})
    make_set(tmp_path / "set", recipe)
    return Dataset(tmp_path / "set")


@pytest.mark.filterwarnings("ignore")  # Minari's own
def test_minari_reads_back_what_was_exported_without_loss(dataset: Dataset) -> None:
    import minari

    export_minari(dataset, "rooms/test-v0")
    loaded = minari.load_dataset("rooms/test-v0")
    assert loaded.total_episodes == len(dataset)
    assert loaded.total_steps == len(dataset.actions)
    for episode, ours in zip(loaded.iterate_episodes(), dataset, strict=True):
        count = len(ours)
        assert episode.observations["image"].dtype == np.uint8
        assert np.array_equal(episode.observations["image"][:count], ours.seen.images)
        assert np.array_equal(episode.observations["instruction"][:count], ours.seen.instructions)
        assert len(episode.observations["image"]) == count + 1
        assert np.array_equal(episode.actions, ours.seen.actions)
        assert np.array_equal(episode.rewards, ours.seen.rewards)
        assert episode.terminations.tolist() == [False] * (count - 1) + [True]
        assert not episode.truncations.any()
        said = [text.decode() for text in episode.infos["explanation"][:count]]
        assert said == list(ours.told.explanations)
        assert np.array_equal(episode.infos["label"][:count], ours.told.labels)
    env = loaded.recover_environment()
    assert env.observation_space["image"].shape == (24, 32, 3)  # pyright: ignore
    env.close()


@pytest.mark.parametrize("explained", [True, False])
def test_an_episode_that_ends_without_a_choice_is_truncated(
    explained: bool, dataset: Dataset
) -> None:
    whole = dataset[0]
    explaining = whole.told.explaining & explained
    cut = replace(whole, told=replace(whole.told, explaining=explaining))
    buffer = next(episodes([cut]))
    last = [False] * (len(whole) - 1) + [True]
    never = [False] * len(whole)
    assert np.asarray(buffer.terminations).tolist() == (last if explained else never)
    assert np.asarray(buffer.truncations).tolist() == (never if explained else last)

    # Cut from outside while an experiment is explained: that was not the end.
    early = replace(cut, choices=tuple(replace(choice, test=False) for choice in cut.choices))
    assert np.asarray(next(episodes([early])).truncations).tolist() == last


@pytest.mark.filterwarnings("ignore")
def test_the_script_exports(dataset: Dataset, tmp_path: Path) -> None:
    import minari

    command = [sys.executable, "-m", "scripts.collect", "--out", str(tmp_path / "set")]
    command += ["--export", "minari", "--out-id", "rooms/script-v0"]
    result = subprocess.run(
        command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert "exported 5 episodes as Minari's rooms/script-v0" in result.stdout
    assert minari.load_dataset("rooms/script-v0").total_episodes == 5


@pytest.mark.filterwarnings("ignore")
def test_an_id_that_minari_already_has_is_refused(dataset: Dataset) -> None:
    export_minari(dataset, "rooms/twice-v0")
    with pytest.raises(ValueError, match="already has a dataset 'rooms/twice-v0'"):
        export_minari(dataset, "rooms/twice-v0")
