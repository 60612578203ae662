"""The enhancement variant's training data, by its public names: the code is `data/degradation.py`.

    from degradation import Degradation
    TrainingStream(open_dataset("folder", "my_videos"), seed=0, degradation=Degradation())
"""
from data.degradation import KINDS, Degradation, Draw, degrade, gaussian_kernel, jpeg, make_degradation, unsharp_mask

__all__ = ["KINDS", "Degradation", "Draw", "degrade", "gaussian_kernel", "jpeg", "make_degradation", "unsharp_mask"]
