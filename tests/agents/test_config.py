import dataclasses

import pytest

from agents.config import PRESETS, AgentConfig, TrainingConfig, vocabulary_fingerprint


def test_presets_grow_and_are_agents_of_this_vocabulary():
    widths = [PRESETS[name].width for name in ("tiny", "cpu", "gpu")]
    assert widths == sorted(widths)
    for config in PRESETS.values():
        assert config.fingerprint == vocabulary_fingerprint()


def test_a_changed_word_changes_the_fingerprint():
    assert vocabulary_fingerprint(("", "red")) != vocabulary_fingerprint(("", "rod"))


def test_configs_are_values():
    config = PRESETS["cpu"]
    assert dataclasses.replace(config, width=256, heads=8).head_width == 32
    assert dataclasses.replace(config) == config
    assert hash(config) == hash(dataclasses.replace(config))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"width": 100, "heads": 8}, "width"),
        ({"layers": 0}, "layers"),
        ({"deed_layers": -1}, "deed_layers"),
        ({"width": 20, "heads": 2, "deed_layers": 1}, "a quarter of width"),
        ({"trial_memory": True, "deed_layers": 1}, "deed_layers=1"),
        ({"encoder": "vit"}, "encoder"),
        ({"channels": ()}, "channels"),
        ({"channels": (16, 0)}, "channels"),
        ({"image_size": (7, 64)}, "image_size"),
        ({"image_size": (16, 64), "encoder": "resnet18"}, "image_size"),
        ({"dropout": 1.0}, "dropout"),
        ({"encoder": "parts", "bleach": 1.5}, "bleach must lie"),
        ({"encoder": "parts", "bleach": float("nan")}, "bleach must lie"),
        ({"bleach": 0.25}, "bleach is for the 'parts' encoder"),
        ({"context": 0}, "context"),
        ({"vocabulary": 0}, "vocabulary"),
        ({"recollect": "false"}, "recollect must be true or false, got 'false'"),
        ({"forget_transformed": 1}, "forget_transformed"),
        ({"channels": (8.5, 16)}, "channels"),
        ({"channels": 16}, "channels"),
        ({"image_size": (64.0, 64)}, "image_size"),
    ],
)
def test_contradictory_agents_are_refused_by_name(change, named):
    with pytest.raises(ValueError, match=named):
        AgentConfig(**change)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"lr": 0.0}, "lr"),
        ({"lr": float("inf")}, "lr"),
        ({"explanation_weight": float("inf")}, "explanation_weight"),
        ({"naming_weight": -1.0}, "naming_weight"),
        ({"start": 3}, "start"),
        ({"betas": (0.9, 1.0)}, "betas"),
        ({"betas": (0.9,)}, "betas"),
        ({"leave_open": 1}, "leave_open"),
        ({"schedule": "linear"}, "schedule"),
        ({"precision": "fp8"}, "precision"),
        ({"mirror": 1.5}, "mirror"),
        ({"label_smoothing": -0.1}, "label_smoothing"),
        ({"explanation_weight": -1.0}, "explanation_weight"),
        ({"decisive_weight": float("nan")}, "decisive_weight"),
        ({"frames": 0}, "frames"),
    ],
)
def test_training_out_of_range_is_refused_by_name(change, named):
    with pytest.raises(ValueError, match=named):
        TrainingConfig(**change)
