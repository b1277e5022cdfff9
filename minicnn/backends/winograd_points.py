"""The matrices of Winograd's F(4×4, 3×3), for every backend that has it.

A tile of 4×4 outputs of a 3×3 correlation needs 36 products instead of 144 (Lavin & Gray 2015, arXiv 1509.09308):

    Y = Aᵀ [(G g Gᵀ) ⊙ (Bᵀ d B)] A        d 6×6 inputs, g 3×3 weights, Y 4×4 outputs

It multiplies polynomials by their values at 0, ±a, ±b and ∞ (Toom and Cook). The textbook takes 1 and 2; with a = 3/4
and b = 3/2 the largest error is 6 times smaller (2.2e-6 instead of 1.4e-5 of the largest output, 256 channels; the
search follows Barabasz et al. 2020, arXiv 1803.10986), and the entries of A and B are still exact in float32.
"""

import numpy as np

a, b = 3 / 4, 3 / 2


def _matrices():
    """Aᵀ (4, 6), G (6, 3) and Bᵀ (6, 6), whose rows belong to the points 0, a, −a, b, −b, ∞."""
    points = np.array([0, a, -a, b, -b])
    infinity = np.eye(6)[5]
    AT = np.vstack([points[:, None] ** np.arange(4), infinity[2:]]).T
    BT, scale = [], []
    for i, point in enumerate(points):  # the polynomial that is 0 at all other points
        others = np.delete(points, i)
        BT.append(np.append(np.poly(others)[::-1], 0))
        scale.append(1 / np.prod(point - others))
    BT.append(np.poly(points)[::-1])
    G = np.vstack([points[:, None] ** np.arange(3) * np.array(scale)[:, None], infinity[3:]])
    return AT, G, np.array(BT)


AT, G, BT = _matrices()
