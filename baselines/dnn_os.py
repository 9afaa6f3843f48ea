"""DNN-OS: the DNN baseline with over-sampled purchases."""

from __future__ import annotations

from torch import Tensor

from baselines.dnn import DNN
from bench.data.batches import Labels


class DNNOS(DNN):
    """DNN whose CVR estimator meets every purchase ``oversampling`` times among the clicked rows, as a weight: a row
    drawn k times into a batch has the gradient of weight k, and the mean is over the drawn rows. The paper names
    neither the factor nor a correction, so there is none: the odds of a purchase are over-estimated, about k times.
    """

    name = "dnn_os"
    title = "DNN-OS"
    source = "ESM² section 4.1.3"
    knobs = ("oversampling",)

    def cvr_rows(self, labels: Labels) -> Tensor:
        return labels.click * (1.0 + (self.config.oversampling - 1.0) * labels.purchase)
