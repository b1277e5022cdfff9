"""Steps of the optimisers. Each takes lists, one entry a parameter, and changes parameters and state in place.

    sgd_step(parameters, grads, buffers, first, lr, momentum, dampening, weight_decay, nesterov, maximize)
        buffers: arrays like the parameters (all None where momentum is 0); first: True where a buffer is not yet in use
    adam_step(parameters, grads, means, squares, largest, steps, lr, betas, eps, weight_decay, decoupled, maximize)
        largest: arrays for amsgrad, else all None; steps: how many each parameter has taken, this one included
    rmsprop_step(parameters, grads, squares, buffers, averages, lr, alpha, eps, weight_decay, momentum, maximize)
        buffers: arrays for momentum, else all None; averages: arrays for the centred form, else all None

The grads are not changed. Arrays of one entry share shape and dtype; parameters and state are writable.
"""

import numpy as np


def sgd_step(parameters, grads, buffers, first, lr, momentum, dampening, weight_decay, nesterov, maximize):
    """b = momentum·b + (1 − dampening)·g, in the first step b = g;  p −= lr·b, nesterov: p −= lr·(g + momentum·b)

    Sutskever, Martens, Dahl & Hinton 2013, with the learning rate outside of b as in torch.
    """
    for p, g, b, is_first in zip(parameters, grads, buffers, first):
        g = decayed(p, g, weight_decay, maximize)
        if b is not None:
            b[...] = g if is_first else momentum * b + (1 - dampening) * g
            g = g + momentum * b if nesterov else b
        p -= lr * g


def adam_step(parameters, grads, means, squares, largest, steps, lr, betas, eps, weight_decay, decoupled, maximize):
    """m = β₁m + (1 − β₁)g,  v = β₂v + (1 − β₂)g²,  p −= lr · m/(1 − β₁ᵗ) / (√(v/(1 − β₂ᵗ)) + eps)

    Kingma & Ba 2015. decoupled (AdamW, Loshchilov & Hutter 2019): weight decay shrinks p, not through g.
    amsgrad (Reddi, Kale & Kumar 2018): the largest v so far takes the place of v.
    """
    beta1, beta2 = betas
    for p, g, m, v, v_max, t in zip(parameters, grads, means, squares, largest, steps):
        if decoupled:
            p *= 1 - lr * weight_decay
        g = decayed(p, g, 0.0 if decoupled else weight_decay, maximize)
        m += (1 - beta1) * (g - m)
        v[...] = beta2 * v + (1 - beta2) * g * g
        if v_max is not None:
            np.maximum(v_max, v, out=v_max)
            v = v_max
        p -= lr / (1 - beta1**t) * (m / (np.sqrt(v) / np.sqrt(1 - beta2**t) + eps))


def rmsprop_step(parameters, grads, squares, buffers, averages, lr, alpha, eps, weight_decay, momentum, maximize):
    """v = αv + (1 − α)g²,  p −= lr · g / (√v + eps);  centred: √(v − a²), a the running mean of g

    Tieleman & Hinton 2012, lecture 6.5; centred: Graves 2013. With momentum: b = momentum·b + g/(√v + eps), p −= lr·b.
    """
    for p, g, v, b, a in zip(parameters, grads, squares, buffers, averages):
        g = decayed(p, g, weight_decay, maximize)
        v[...] = alpha * v + (1 - alpha) * g * g
        variance = v
        if a is not None:
            a += (1 - alpha) * (g - a)
            variance = v - a * a
        with np.errstate(invalid="ignore"):  # rounding may leave a variance just below 0: NaN, as in torch
            g = g / (np.sqrt(variance) + eps)
        if b is not None:
            b[...] = momentum * b + g
            g = b
        p -= lr * g


def decayed(p, g, weight_decay, maximize):
    """The gradient of the loss (of its negative, to maximise) plus weight_decay/2 · ‖p‖²."""
    g = -g if maximize else g
    return g + weight_decay * p if weight_decay else g
