"""Makes, resets, steps and renders every id of an installed oddoneout (see `make wheel-test`).

Run by the interpreter of a clean virtual environment, from a folder outside the checkout.
"""

import gymnasium
import numpy as np

import oddoneout


def main() -> None:
    ids = sorted(id for id in gymnasium.registry if id.startswith("OddOneOut/"))
    assert len(ids) == 4, f"expected four ids, found {ids}"
    for id in ids:
        env = gymnasium.make(id, render_mode="rgb_array")
        observation, info = env.reset(seed=0)
        for action in (1, 3, 4, 2, 5):
            observation, _, _, _, info = env.step(action)
        frame = env.render()
        assert isinstance(frame, np.ndarray)
        assert frame.std() > 5, f"{id} renders an empty picture"
        assert observation["image"].std() > 5, f"{id} shows an empty picture"
        print(f"{id}: {info['instruction']!r}, frame {frame.shape}")
        env.close()
    print(f"the wheel works: {oddoneout.__file__}")


if __name__ == "__main__":
    main()
