"""Losses, one value a position. Logits are (N, C, L), class indices (N, L), class probabilities (N, C, L).

`functional` reduces the losses; `scale` (N, L) is what comes back: the upstream gradient of each of them.
"""

import numpy as np

from .activation import sigmoid_forward
from .softmax import log_softmax_forward, softmax_forward


def cross_entropy_forward(logits, target, weight, ignore_index, label_smoothing):
    """loss_n = −Σ_c weight[c] · q[n, c] · log p[n, c] with p = softmax(logits), q the smoothed target distribution.

    Label smoothing: Szegedy et al. 2016, section 7: q = (1 − ε) · target + ε / C.
    Returns (losses, weights), weights what each position adds to the divisor of the mean.
    """
    N, C, L = logits.shape
    log_p = log_softmax_forward(logits, axis=1)
    class_weight = np.ones(C, logits.dtype) if weight is None else weight
    with np.errstate(invalid="ignore"):  # 0 · inf is NaN, as it should be
        if target.ndim == 3:
            q = (1 - label_smoothing) * target + label_smoothing / C
            return -(class_weight[:, None] * q * log_p).sum(axis=1), np.ones((N, L), logits.dtype)
        losses, weights = nll_loss_forward(log_p, target, weight, ignore_index)
        if label_smoothing > 0:
            uniform = -(class_weight[:, None] * log_p).sum(axis=1) / C
            uniform = np.where(target == ignore_index, np.zeros((), logits.dtype), uniform)
            losses = (1 - label_smoothing) * losses + label_smoothing * uniform
        return losses, weights


def cross_entropy_backward(scale, logits, target, weight, ignore_index, label_smoothing):
    # forward: loss_n = −Σ_c wq[n, c] · log p[n, c], and d log p_c / d logit_j = [c = j] − p_j
    # so dL/dlogit_j = dL/dloss_n · (p_j · Σ_c wq[n, c] − wq[n, j])
    C = logits.shape[1]
    class_weight = np.ones(C, logits.dtype) if weight is None else weight
    if target.ndim == 3:
        counts, distribution = np.ones(scale.shape, bool), target
    else:
        counts = target != ignore_index
        distribution = (target[:, None] == np.arange(C)[:, None]).astype(logits.dtype)  # one-hot, (N, C, L)
    with np.errstate(invalid="ignore"):
        wq = class_weight[:, None] * ((1 - label_smoothing) * distribution + label_smoothing / C)
        dlogits = scale[:, None] * (softmax_forward(logits, axis=1) * wq.sum(axis=1, keepdims=True) - wq)
    return np.where(counts[:, None], dlogits, np.zeros((), logits.dtype))


def nll_loss_forward(log_probs, target, weight, ignore_index):
    """loss_n = −weight[target_n] · log_probs[n, target_n], 0 where the target is ignored."""
    counts = target != ignore_index
    index = np.where(counts, target, 0)
    picked = np.take_along_axis(log_probs, index[:, None], axis=1)[:, 0]  # (N, L)
    weights = (
        counts.astype(log_probs.dtype) if weight is None else np.where(counts, weight[index], weight.dtype.type(0))
    )
    with np.errstate(invalid="ignore"):
        return np.where(counts, -weights * picked, np.zeros((), log_probs.dtype)), weights


def nll_loss_backward(scale, x_shape, target, weight, ignore_index):
    # forward: loss_n = −weight[t] · x[n, t]: only the entry of the target class has a gradient
    counts = target != ignore_index
    index = np.where(counts, target, 0)
    dloss = -scale if weight is None else -scale * weight[index]
    dx = np.zeros(x_shape, scale.dtype)
    np.put_along_axis(dx, index[:, None], np.where(counts, dloss, np.zeros((), scale.dtype))[:, None], axis=1)
    return dx


def mse_loss_forward(x, target):
    """loss = (x − target)²"""
    with np.errstate(invalid="ignore", over="ignore"):
        return np.asarray((x - target) ** 2)


def mse_loss_backward(scale, x, target):
    # forward: loss = (x − target)²; scale is one number or of the shape of x
    with np.errstate(invalid="ignore", over="ignore"):
        return np.ascontiguousarray(scale * (2 * (x - target))).reshape(x.shape)


def bce_with_logits_forward(x, target):
    """loss = −t · log σ(x) − (1 − t) · log(1 − σ(x))
    = (1 − t) · x + log(1 + exp(−x)) for x ≥ 0, −t · x + log(1 + exp(x)) for x < 0"""
    with np.errstate(invalid="ignore", over="ignore"):
        return np.asarray(np.where(x >= 0, (1 - target) * x, -target * x) + np.log1p(np.exp(-abs(x))))


def bce_with_logits_backward(scale, x, target):
    # forward: loss = −t · log σ(x) − (1 − t) · log(1 − σ(x)), so dloss/dx = σ(x) − t
    with np.errstate(invalid="ignore", over="ignore"):
        return np.ascontiguousarray(scale * (sigmoid_forward(x) - target)).reshape(x.shape)
