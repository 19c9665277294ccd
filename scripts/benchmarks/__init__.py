"""The parts of scripts.benchmark: each measures one thing and words it as a table."""
