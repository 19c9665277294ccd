"""Thousands of rooms at once on one device: ``gymnasium.make_vec(id, renderer="warp")``.

Needs the extra ``warp``. The same rules, layouts and motion as everywhere else, as tensors;
``mujoco_warp`` draws. Modules are imported by name, so that a worker loads only what it needs.
"""
