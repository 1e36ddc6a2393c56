"""Scenes cut into windows: a context that a model sees, and the horizon that it forecasts.

In the order in which data pass:

1. `cutoffs`: where windows end, for training, validation and forecasts.
2. `hiding`: what a training does not see of them.
3. `history`: what exponential smoothing knows of a panel at each cutoff, for models of demand.
4. `dataset`: the windows themselves, gathered from a panel a batch at a time.
5. `resident`: the same on the device, where the panel has room there.
"""

from hierforecast.windows.dataset import Window, WindowDataset, few_windows, sample_windows

__all__ = ["Window", "WindowDataset", "few_windows", "sample_windows"]
