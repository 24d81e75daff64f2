"""Whether a trained model may be used: the gate between training and scoring."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from loaders.ml.training import Judgement

LARGEST_CALIBRATION_ERROR = 0.05
# What is lost in log loss by chance where two models are as good: a hundredth.
_TOLERANCE = 1.01


def objections(challenger: Judgement, champion: Judgement | None) -> list[str]:
    """What speaks against using a model; nothing where it may be used.

    Args:
        challenger, champion: judged on the same rows, which neither has learned from. None: no
            model is in use yet.
    """
    found = []
    if challenger.log_loss >= (known := _entropy(challenger.base_rate)):
        found.append(
            "it tells less than who foretells the same of everybody: log loss "
            f"{challenger.log_loss:.4f} against {known:.4f}"
        )
    if challenger.gain_low <= 0:
        found.append(
            "it is not surely better than its baseline: ROC AUC "
            f"{challenger.roc_auc:.3f} against {challenger.baseline_roc_auc:.3f}, the gain lies "
            f"between {challenger.gain_low:+.3f} and {challenger.gain_high:+.3f}"
        )
    if challenger.calibration_error > LARGEST_CALIBRATION_ERROR:
        found.append(
            f"what it foretells is off by {challenger.calibration_error:.3f} on average; "
            f"{LARGEST_CALIBRATION_ERROR} at most"
        )
    if champion and challenger.log_loss > champion.log_loss * _TOLERANCE:
        found.append(
            f"it is worse than the one in use: log loss {challenger.log_loss:.4f} against "
            f"{champion.log_loss:.4f}"
        )
    return found


def _entropy(share: float) -> float:
    """Log loss of who foretells a share of all, where it comes so."""
    return -sum(each * math.log(each) for each in (share, 1 - share) if each)
