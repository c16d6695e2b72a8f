"""How rarely a quantity is as large as now, by what it was: its upper tail, in four numbers.

Above `edge`, which about a fiftieth of what was seen exceeds, a tail is taken to fall as a power,
whose exponent is Hill's estimate (Annals of Statistics 3, 1975): the mean of log(size / edge). That
asks for no unit and no shape of the bulk, and for heavy tails, which measurements have, it does not
cry at every record. Below the edge nothing is surprising.
"""

from __future__ import annotations

from array import array
from math import exp, log, log10

FIELDS = 4  # seen, edge, sum of log(size / edge) of those above, how many were above
SHARE = 0.02  # of what was seen is above the edge: 2 in 100 are enough to learn a tail from
STEP = 0.02  # by which the edge follows, relative: e-fold within 50 exceedances
WARM = 100  # seen before it says anything: two above the edge
MOST = 2500.0  # seen; then a fifth is forgotten: what is older than a week at five minutes fades
FADES = 0.8
PRIOR = 20.0  # exceedances that the usual exponent weighs
USUAL = 0.35  # the usual mean of log(size / edge): between Gauss (0.15) and Cauchy (1)
FARTHEST = 30.0  # log(size / edge) counted at most, and where there was nothing before
LEARNED = 5.0  # and learned at most: one value decides nothing
_UP, _DOWN = exp(STEP * (1.0 - SHARE)), exp(-STEP * SHARE)
_DECADE = log(10.0)


def surprise(
    tails: array[float], at: int, off: float, least: float, *, learn: bool = True
) -> float:
    """-log10 of how often one of two tails is as far out as `off`, >= 0; then learns it.

    The tail at `at` is for `off` above 0, the one after it for those below. What is not farther off
    than `least` counts as nothing. 0 until the tail is warm.
    """
    if off < 0.0:
        at += FIELDS
        off = -off
    seen = tails[at]
    edge = tails[at + 1]
    if seen < WARM:
        if learn:
            tails[at] = seen + 1.0
            tails[at + 1] = edge + (2.0 * off - edge) / (seen + 1.0)  # twice the mean, to begin
        return 0.0
    found = 0.0
    if off > edge and off > least:
        fresh = edge <= least
        far = FARTHEST if fresh else min(log(off / edge), FARTHEST)
        total = tails[at + 2]
        above = tails[at + 3]
        usual = (total + PRIOR * USUAL) / (above + PRIOR)
        found = far / usual / _DECADE - log10(min(1.0, (above + 1.0) / (seen + 1.0)))
        if not learn:
            return found
        tails[at + 2] = total + min(far, LEARNED)
        tails[at + 3] = above + 1.0
        tails[at + 1] = off if fresh else edge * _UP
    elif learn:
        tails[at + 1] = edge * _DOWN
    else:
        return 0.0
    if seen < MOST:
        tails[at] = seen + 1.0
    else:
        tails[at] = seen * FADES
        tails[at + 2] *= FADES
        tails[at + 3] *= FADES
    return found
