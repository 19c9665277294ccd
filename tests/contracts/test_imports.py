"""The house's first two laws: imports run one way only, and two fences part the halves.

Modules are read, not imported: an import inside a function counts like any other.
"""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

#: From the ground up. A module may import from its own layer and from those before it.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("oddoneout.rules",),
    ("oddoneout.actions",),
    ("oddoneout.world",),
    ("oddoneout.episode", "oddoneout.snapshot"),
    ("oddoneout.arguments", "oddoneout.processes"),
    ("oddoneout.env", "oddoneout.window"),
    ("oddoneout.vector", "oddoneout.vector_worker", "oddoneout.warp"),
    ("oddoneout.demos.trajectory", "oddoneout.demos.rollout"),  # the Policy protocol, the loop
    ("oddoneout.expert", "oddoneout.baselines"),
    ("oddoneout.demos",),
    ("oddoneout.evaluation", "oddoneout.video", "oddoneout.captions"),
    ("agents",),
    ("scripts",),
)

#: All of oddoneout that agents may know: the dataset, the Policy protocol, and their words.
FENCES = (
    "oddoneout.demos",
    "oddoneout.evaluation",
    "oddoneout.rules.language",
    "oddoneout.actions",
)

#: Third-party packages that a part may import, most particular part first.
THIRD_PARTY: tuple[tuple[str, frozenset[str]], ...] = (
    ("oddoneout.rules", frozenset({"numpy"})),
    ("oddoneout.actions", frozenset[str]()),
    ("oddoneout.world.camera", frozenset({"numpy", "mujoco", "OpenGL"})),
    ("oddoneout.world", frozenset({"numpy", "mujoco"})),
    ("oddoneout.env", frozenset({"numpy", "gymnasium"})),
    ("oddoneout.warp", frozenset({"numpy", "gymnasium", "mujoco", "mujoco_warp", "torch", "warp"})),
    ("oddoneout.expert", frozenset({"numpy"})),
    ("oddoneout.demos", frozenset({"numpy", "gymnasium", "minari", "h5py"})),
    ("oddoneout.video", frozenset({"numpy", "gymnasium", "imageio", "imageio_ffmpeg", "PIL"})),
    ("oddoneout", frozenset({"numpy", "gymnasium", "imageio", "PIL", "glfw"})),
)

#: Where GL contexts are made and drawn with; everyone else asks the camera.
GL_NAMES = frozenset({"GLContext", "MjrContext", "Renderer", "mjr_render", "mjr_readPixels"})
GL_FILE = "oddoneout.world.camera"


@dataclass(frozen=True)
class Module:
    name: str
    path: Path
    tree: ast.Module
    imports: tuple[str, ...]

    def within(self, *parts: str) -> bool:
        return within(self.name, parts)


def within(name: str, parts: tuple[str, ...]) -> bool:
    return any(name == part or name.startswith(part + ".") for part in parts)


def imported(tree: ast.Module, package: str) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            up = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join([*(up if node.level else []), *([node.module] if node.module else [])])
            for alias in node.names:
                # `from package import module` names a module; `from module import name` does not.
                candidate = ROOT.joinpath(*base.split("."), alias.name)
                is_module = candidate.is_dir() or candidate.with_suffix(".py").is_file()
                yield f"{base}.{alias.name}" if is_module else base


def modules() -> list[Module]:
    found = []
    for top in ("oddoneout", "agents", "scripts"):
        for path in sorted((ROOT / top).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            package = ".".join(parts[:-1])
            name = package if parts[-1] == "__init__" else ".".join(parts)
            tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
            found.append(Module(name, path, tree, tuple(sorted(set(imported(tree, package))))))
    return found


MODULES = modules()
OURS = [m for m in MODULES if m.name not in ("oddoneout", "agents", "scripts")]
each_module = pytest.mark.parametrize("module", OURS, ids=lambda m: m.name)


def layer(name: str) -> int | None:
    return next((i for i, parts in enumerate(LAYERS) if within(name, parts)), None)


@each_module
def test_imports_run_one_way(module: Module) -> None:
    own = layer(module.name)
    assert own is not None, f"{module.name} belongs to no layer; give it one in {__file__}"
    upward = [name for name in module.imports if (other := layer(name)) is not None and other > own]
    assert not upward, f"{module.name} imports from layers above its own: {upward}"


@pytest.mark.parametrize("module", [m for m in OURS if m.within("agents")], ids=lambda m: m.name)
def test_agents_know_oddoneout_only_through_the_fences(module: Module) -> None:
    beyond = [n for n in module.imports if within(n, ("oddoneout",)) and not within(n, FENCES)]
    assert not beyond, f"{module.name} reaches over the fence: {beyond}"


@pytest.mark.parametrize(
    "module", [m for m in MODULES if m.within("oddoneout")], ids=lambda m: m.name
)
def test_every_part_needs_only_its_own_libraries(module: Module) -> None:
    allowed = next(libraries for part, libraries in THIRD_PARTY if module.within(part))
    tops = {name.split(".")[0] for name in module.imports}
    extra = tops - sys.stdlib_module_names - allowed - {"oddoneout"}
    assert not extra, f"{module.name} imports {sorted(extra)}; allowed there: {sorted(allowed)}"


@each_module
def test_only_the_camera_touches_gl(module: Module) -> None:
    if not module.within("oddoneout") or module.name == GL_FILE:
        return
    names = set[str]()
    for node in ast.walk(module.tree):
        match node:
            case ast.Attribute(attr=name) | ast.Name(id=name) | ast.alias(name=name):
                names.add(name)
    assert not names & GL_NAMES, f"{module.name} uses {sorted(names & GL_NAMES)}"


def loaded_after(statement: str) -> set[str]:
    code = f"{statement}\nimport sys\nprint(*sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(run.stdout.split())


HEAVY = {"mujoco", "OpenGL", "glfw", "torch", "imageio", "PIL", "matplotlib", "minari"}
HEAVY |= {"mujoco_warp", "warp"}


def test_importing_oddoneout_stays_light() -> None:
    loaded = loaded_after("import oddoneout, gymnasium; gymnasium.spec('OddOneOut/Basic-v0')")
    assert not loaded & HEAVY


def test_using_environments_and_expert_never_loads_torch() -> None:
    loaded = loaded_after(
        "import oddoneout.env, oddoneout.vector, oddoneout.expert, oddoneout.evaluation"
    )
    assert not loaded & {"torch", "warp", "matplotlib", "minari"}


def test_importing_has_no_side_effects_on_the_process_environment() -> None:
    code = (
        "import os, gymnasium; before = dict(os.environ)\n"
        "import oddoneout.env, oddoneout.expert, oddoneout.evaluation, oddoneout.video\n"
        "assert dict(os.environ) == before, set(os.environ.items()) ^ set(before.items())"
    )
    # Told which GL to use, mujoco itself passes that on to PyOpenGL.
    env = {name: value for name, value in os.environ.items() if name != "MUJOCO_GL"}
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, env=env)
