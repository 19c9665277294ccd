"""What a set of demonstrations holds, in lines for reading."""

from collections import Counter

import numpy as np

from oddoneout.actions import Action
from oddoneout.demos.storage import Dataset

_SHOWN_SENTENCES = 8


def summary(dataset: Dataset) -> list[tuple[str, str]]:
    """Names and values: contents, lengths, success, actions, sentences, sizes."""
    manifest = dataset.manifest
    lengths, frames = dataset.lengths, len(dataset.actions)
    standing = Counter(np.asarray(dataset.explanation_ids).tolist())
    told = {dataset.sentences[i]: n for i, n in standing.most_common() if dataset.sentences[i]}
    size = sum(file.stat().st_size for file in dataset.path.rglob("*") if file.is_file())
    actions = np.bincount(dataset.labels, minlength=len(Action)) / frames
    height, width = manifest.image_size
    rows = [
        ("environment", f"{manifest.env_id} {dict(manifest.env_args)}"),
        ("demonstrator", f"{manifest.policy} {dict(manifest.policy_args)}"),
        ("seed", str(manifest.seed)),
        ("versions", ", ".join(f"{name} {v}" for name, v in manifest.versions.items())),
        ("episodes", f"{len(dataset)} in {manifest.shards} shards"),
        ("frames", f"{frames} of {height} x {width}"),
        ("size", f"{size / 1e6:.1f} MB"),
        ("steps per episode", f"{lengths.min()} to {lengths.max()}, mean {lengths.mean():.1f}"),
        *_choices(dataset),
        (
            "actions to learn",
            ", ".join(f"{a.name.lower()} {actions[a]:.3f}" for a in Action if actions[a]),
        ),
        ("disturbed actions", f"{np.mean(dataset.actions != dataset.labels):.3f}"),
        ("steps with a sentence", f"{sum(told.values()) / frames:.3f}"),
        ("distinct sentences", str(len(told))),
    ]
    rows += [(f"  {n} steps", text) for text, n in list(told.items())[:_SHOWN_SENTENCES]]
    return rows


def _choices(dataset: Dataset) -> list[tuple[str, str]]:
    made = [choice for choices in dataset.choices for choice in choices]
    scored = [choice for choice in made if choice.test]
    count = len(dataset)
    rows = [("success", f"{sum(c.correct for c in scored) / count:.3f} (scored trial)")]
    for trial in sorted({choice.trial for choice in made if not choice.test}):
        correct = sum(c.correct for c in made if c.trial == trial and not c.test)
        rows.append((f"experiment {trial + 1} correct", f"{correct / count:.3f}"))
    where = Counter(" ".join(choice.odd_in) or "none" for choice in scored)
    where["no choice"] = count - len(scored)
    rows.append(
        ("scored choice odd in", ", ".join(f"{k} {n / count:.3f}" for k, n in where.items() if n))
    )
    return rows
