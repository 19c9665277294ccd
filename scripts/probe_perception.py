"""Can the camera tell every attribute value apart? Trains a small network to name what it shows.

    python -m scripts.probe_perception [--frames 160000] [--epochs 8] [--out docs]

Random objects stand in the real room as ``sample_layout`` places them; the agent stands anywhere
near one of them, facing it give or take the gaze cone. The network sees the 64x64 frame and
names the color, shape, texture and size of the object looked at. Held-out frames give the accuracy
for each dimension and distance; the mark is 0.99 in every dimension while the object is in focus.
Writes ``perception.md`` and its pictures; ends with an error when the mark is missed.
"""

import argparse
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from agents.precision import autocast
from oddoneout.rules.attributes import VALUES, Dimension, Shape, Size, Texture
from oddoneout.rules.things import Thing
from oddoneout.world.gaze import glance
from oddoneout.world.geometry import (
    AGENT_RADIUS,
    GAZE_CONE,
    OBJECT_COUNT,
    OBJECT_RADIUS,
    REACH,
    ROOM_HALF,
)
from oddoneout.world.layout import Layout, Pose, sample_layout
from oddoneout.world.world import World
from scripts import common

MARK = 0.99
NEAREST = AGENT_RADIUS + OBJECT_RADIUS
FARTHEST = 3.0
BANDS = ((NEAREST, REACH), (REACH, 1.6), (1.6, 2.0), (2.0, FARTHEST))
DIMENSIONS = tuple(Dimension)


@dataclass(frozen=True, eq=False)
class Frames:
    """What the camera showed, and of what.

    Attributes:
        images: uint8 (N, 64, 64, 3).
        labels: int64 (N, 4), index of the value in each dimension of the object looked at.
        distances: float64 (N,), metres to that object.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    distances: NDArray[np.float64]


def stand(rng: np.random.Generator, near: float, far: float) -> tuple[Layout, int]:
    """A layout whose agent looks at an object between ``near`` and ``far`` metres away."""
    while True:
        layout = sample_layout(rng)
        places = [(x, y) for x, y, _ in layout.objects]
        for _ in range(8):
            target = int(rng.integers(OBJECT_COUNT))
            distance = rng.uniform(near, far)
            direction = rng.uniform(-math.pi, math.pi)
            x = places[target][0] - distance * math.cos(direction)
            y = places[target][1] - distance * math.sin(direction)
            pose = Pose(x, y, direction - rng.uniform(-GAZE_CONE, GAZE_CONE))
            if max(abs(x), abs(y)) > ROOM_HALF - AGENT_RADIUS:
                continue
            if min(math.hypot(x - ox, y - oy) for ox, oy in places) < NEAREST:
                continue
            if glance(pose, places)[0] == target:
                return Layout(pose, layout.objects), target


def random_thing(rng: np.random.Generator) -> Thing:
    """Any thing of the whole vocabulary."""
    drawn = {d.value: VALUES[d][int(rng.integers(len(VALUES[d])))] for d in Dimension}
    return Thing(**drawn)  # type: ignore[arg-type]


def render(world: World, rng: np.random.Generator, count: int, far_share: float) -> Frames:
    """Frames of random rooms; a share of them looks at objects out of reach."""
    images = np.empty((count, 64, 64, 3), np.uint8)
    labels = np.empty((count, len(DIMENSIONS)), np.int64)
    distances = np.empty(count)
    for i in range(count):
        near, far = (REACH, FARTHEST) if rng.random() < far_share else (NEAREST, REACH)
        layout, target = stand(rng, near, far)
        things = [random_thing(rng) for _ in range(OBJECT_COUNT)]
        world.place(things, layout)
        images[i] = world.image()
        labels[i] = [VALUES[d].index(things[target][d]) for d in DIMENSIONS]
        x, y, _ = layout.objects[target]
        distances[i] = math.hypot(x - layout.agent.x, y - layout.agent.y)
    return Frames(images, labels, distances)


class Reader(nn.Module):
    """A small convolutional network with one head for each dimension."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for width, kernel, stride in ((32, 4, 2), (64, 3, 2), (64, 3, 1), (128, 3, 2), (128, 3, 2)):
            layers += [
                nn.Conv2d(channels, width, kernel, stride, 1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(),
            ]
            channels = width
        self.body = nn.Sequential(
            *layers, nn.Flatten(), nn.Linear(channels * 9, 256), nn.BatchNorm1d(256), nn.ReLU()
        )
        self.heads = nn.ModuleList(nn.Linear(256, len(VALUES[d])) for d in DIMENSIONS)

    def forward(self, images: Tensor) -> list[Tensor]:
        """uint8 (N, 64, 64, 3) -> logits (N, values) for each dimension."""
        looked_at = images[:, 16:64, 8:56]  # holds what is in the gaze cone; cutting saves time
        pixels = looked_at.permute(0, 3, 1, 2).float().div(127.5).sub(1.0)
        features = self.body(pixels)
        return [head(features) for head in self.heads]


def train(frames: Frames, epochs: int, batch: int, seed: int) -> Reader:
    """Fit a reader to frames."""
    torch.manual_seed(seed)
    model = Reader().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    images, labels = torch.from_numpy(frames.images), torch.from_numpy(frames.labels)
    steps = epochs * (len(images) // batch)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=4e-3, total_steps=steps)
    generator = torch.Generator().manual_seed(seed)
    began = time.monotonic()
    for epoch in range(epochs):
        total = 0.0
        for rows in torch.randperm(len(images), generator=generator).split(batch):
            if len(rows) < batch:
                break
            shown = images[rows]
            if torch.rand((), generator=generator) < 0.5:  # every value survives a mirror
                shown = shown.flip(2)
            with autocast("auto", torch.device("cpu")):
                outputs = model(shown)
            losses = [
                functional.cross_entropy(logits.float(), labels[rows, i])
                for i, logits in enumerate(outputs)
            ]
            loss = torch.stack(losses).sum()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        mean = total / (len(images) // batch)
        print(f"epoch {epoch + 1}: loss {mean:.4f}, {time.monotonic() - began:.0f} s", flush=True)
    return model.eval()


@torch.no_grad()
def read(model: Reader, images: NDArray[np.uint8]) -> NDArray[np.int64]:
    """The values a reader names, int64 (N, 4)."""
    parts = []
    for rows in torch.from_numpy(images).split(500):
        parts.append(torch.stack([logits.argmax(1) for logits in model(rows)], dim=1))
    return torch.cat(parts).numpy()


def confusion(truth: NDArray[np.int64], named: NDArray[np.int64], size: int) -> NDArray:
    """Counts, (size, size): rows are true values, columns named ones."""
    counts = np.zeros((size, size), np.int64)
    np.add.at(counts, (truth, named), 1)
    return counts


def draw_confusions(test: Frames, named: NDArray[np.int64], path: Path) -> None:
    """The confusion matrices of the objects in focus, as shares of each true value."""
    focus = test.distances <= REACH
    figure, axes = plt.subplots(2, 2, figsize=(13, 12), layout="constrained")
    for i, (dimension, axis) in enumerate(zip(DIMENSIONS, axes.flat, strict=True)):
        values = VALUES[dimension]
        counts = confusion(test.labels[focus, i], named[focus, i], len(values))
        shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
        axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for (row, column), share in np.ndenumerate(shares):
            if share > 0:
                color = "white" if share > 0.5 else "black"
                axis.text(
                    column,
                    row,
                    f"{100 * share:.1f}",
                    ha="center",
                    va="center",
                    color=color,
                    fontsize=8,
                )
        axis.set_xticks(range(len(values)), list(values), rotation=45, ha="right")
        axis.set_yticks(range(len(values)), list(values))
        axis.set(title=f"{dimension}: % of frames", xlabel="named", ylabel="true")
    figure.savefig(path, dpi=70)
    plt.close(figure)


def draw_sheet(world: World, rng: np.random.Generator, path: Path) -> None:
    """Objects in focus as the agent sees them: a row for each texture, a column for each shape."""
    rows = []
    for texture in Texture:
        row = []
        for shape in Shape:
            layout, target = stand(rng, NEAREST, REACH)
            things = [random_thing(rng) for _ in range(OBJECT_COUNT)]
            color, size = things[target].color, Size.LARGE
            things[target] = Thing(color=color, shape=shape, texture=texture, size=size)
            world.place(things, layout)
            row.append(np.pad(world.image(), ((1, 1), (1, 1), (0, 0))))
        rows.append(np.concatenate(row, axis=1))
    sheet = np.concatenate(rows).repeat(2, axis=0).repeat(2, axis=1)
    plt.imsave(path, sheet)


def worst(truth: NDArray[np.int64], named: NDArray[np.int64], names: Sequence[str]) -> str:
    """The most frequent confusion, in words."""
    counts = confusion(truth, named, len(names))
    np.fill_diagonal(counts, 0)
    row, column = divmod(int(counts.argmax()), len(names))
    if counts[row, column] == 0:
        return "none"
    total = int((truth == row).sum())
    return f"{names[row]} named {names[column]} ({counts[row, column]} of {total})"


def accuracy(right: NDArray[np.bool_]) -> str:
    """The share that is right; "-" of nothing."""
    return f"{right.mean():.4f}" if len(right) else "-"


def report(test: Frames, named: NDArray[np.int64], given: argparse.Namespace, command: str) -> bool:
    """Write perception.md; returns whether every dimension reaches the mark in focus."""
    right = named == test.labels
    weights = sum(p.numel() for p in Reader().parameters())
    head = "| distance (m) | frames | " + " | ".join(DIMENSIONS) + " | all four |"
    table = [head, "|---" * (len(DIMENSIONS) + 3) + "|"]
    for near, far in BANDS:
        rows = (test.distances >= near) & (test.distances <= far)
        cells = [accuracy(right[rows, i]) for i in range(len(DIMENSIONS))]
        label = f"{near:.2f}-{far:.2f}" + (" (in focus)" if far == REACH else "")
        whole = accuracy(right[rows].all(1))
        table.append(f"| {label} | {rows.sum()} | " + " | ".join([*cells, whole]) + " |")
    focus = test.distances <= REACH
    passed = bool(focus.any() and (right[focus].mean(0) >= MARK).all())
    mistakes, hard = [], []
    for i, dimension in enumerate(DIMENSIONS):
        values = VALUES[dimension]
        shown = {value: focus & (test.labels[:, i] == j) for j, value in enumerate(values)}
        shares = {value: right[rows, i].mean() for value, rows in shown.items() if rows.any()}
        low = min(shares, key=shares.__getitem__, default=None)
        hardest = f"{low} {shares[low]:.4f}" if low is not None else "-"
        frequent = worst(test.labels[focus, i], named[focus, i], values)
        mistakes.append(f"| {dimension} | {hardest} | {frequent} |")
        hard += [value for value, share in shares.items() if share < MARK]
    text = f"""# What the camera shows

Failures of an agent should be failures of learning, not of eyesight. A small convolutional network
({weights:,} weights, {given.frames:,} frames, {given.epochs} epochs)
names the color, shape, texture and size of the object looked at, from the part of one 64x64 frame
that can hold the object, wherever it stands there. The frame is that of the
agent's camera. Rooms, looks and poses are random over the whole vocabulary: any distance, any side
of the object, anywhere in the gaze cone, the other three objects around. Accuracy on
{len(named):,} held-out frames:

{chr(10).join(table)}

The mark is {MARK} in each dimension while the object is in focus, where objects are chosen and
transformed: {"reached" if passed else "missed"}
(single values below it: {", ".join(hard) or "none"}). The other rows tell how well objects can be
read at distances at which explanations stand but no object can be chosen yet.

| dimension | hardest value in focus | most frequent mistake in focus |
|---|---|---|
{chr(10).join(mistakes)}

![Confusion matrices, objects in focus](images/perception-confusions.png)

Objects in focus as the agent sees them, large, a row for each texture, a column for each shape:

![Contact sheet](images/perception-frames.png)

Made by `{command}`,
which writes this page (and others with `--out`).
"""
    (given.out / "perception.md").write_text(text, encoding="utf-8")
    print(text)
    return passed


def changed(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> list[str]:
    """The flags that make the same page again: those that differ from their defaults."""
    return [
        f"--{name} {value}"
        for name, value in vars(arguments).items()
        if name != "out" and value != parser.get_default(name)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description="Probe what the camera can tell apart.")
    parser.add_argument(
        "--frames", type=common.positive, default=160_000, help="to train on (160000)"
    )
    parser.add_argument(
        "--test", type=common.positive, default=20_000, help="held-out frames (20000)"
    )
    parser.add_argument("--epochs", type=common.positive, default=8)
    parser.add_argument("--batch", type=common.positive, default=256)
    parser.add_argument("--seed", type=common.seed_number, default=0)
    parser.add_argument("--threads", type=common.positive, default=1)
    parser.add_argument("--out", type=Path, default=Path("docs"), help="folder to write (docs)")
    arguments = parser.parse_args()
    if arguments.frames < arguments.batch:
        parser.error(f"--frames must be at least --batch, {arguments.batch}")
    torch.set_num_threads(arguments.threads)
    (arguments.out / "images").mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(arguments.seed)
    world = World((64, 64))
    began = time.monotonic()
    frames = render(world, rng, arguments.frames, far_share=0.2)
    test = render(world, rng, arguments.test, far_share=0.2)
    print(f"rendered {arguments.frames + arguments.test} in {time.monotonic() - began:.0f} s")
    draw_sheet(world, rng, arguments.out / "images" / "perception-frames.png")
    world.close()
    model = train(frames, arguments.epochs, arguments.batch, arguments.seed)
    named = read(model, test.images)
    draw_confusions(test, named, arguments.out / "images" / "perception-confusions.png")
    command = " ".join(["python -m scripts.probe_perception", *changed(parser, arguments)])
    if not report(test, named, arguments, command):
        sys.exit(f"the mark of {MARK} was missed; see {arguments.out / 'perception.md'}")


if __name__ == "__main__":
    common.run(main)
