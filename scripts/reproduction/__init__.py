"""The experiments behind `python -m scripts.reproduce`: plan, cells, analysis, figures, report."""
