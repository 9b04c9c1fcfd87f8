"""The joint Kelly problem of one event, solved with a certificate.

Maximise Σ q_j·log(w_j + Σ_k G_jk·v_k) over 0 ≤ v ≤ 1 with R·v ≤ 1, where R has no negative entry.
Few limits bind, and growth is nearly linear in small sizes: steps from the vertex that the slopes
choose mostly end at once. Else a feasible primal-dual interior point finds the active set and
Newton steps on it make the answer exact. The duality gap, worked out apart from both, decides
(docs/adr/0013). Pure: equal inputs give equal bits.
"""

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Places = NDArray[np.intp]
Flags = NDArray[np.bool_]

GAP_MAX = 1e-6
"""Of the steepest edge's whole gain: what an accepted answer may lie below the optimum."""
GAP_EXACT = 1e-10
GAP_FINAL = 1e-13
"""Newton's last step from an exact gap costs little and brings the shares' last digits."""
ROW_LEAST = 1e-300
STILL = 1e-14
SPREAD = 1e-4
"""Weight of the wish to serve all alike: makes the optimum unique where quotes are substitutes."""
FACES_MAX = 20
FACES_OF_ROWS_MAX = 6
"""Where several rows may bind, going from face to face ends soon or not at all."""
STEPS_MAX = 60
POLISH_STEPS_MAX = 6
POLISH_BELOW = 1e-3
FEASIBLE = 1e-9
BACK = 0.99


class Unsolved(Exception):
    """No answer with a certificate: nothing may be sized from it."""


class Solution(Struct, frozen=True, eq=False):
    """The answer, shape (n,), and a bound on its distance from the optimum in scaled units."""

    shares: Floats
    gap: float
    steps: int


class _Problem:
    """The objective, scaled so that the steepest edge at zero is 1, and its certificate."""

    def __init__(
        self, masses: Floats, wealth: Floats, gains: Floats, rows: Floats, reach: Floats
    ) -> None:
        steepest = float(np.abs((masses / wealth) @ gains).max())
        if not (steepest > 0.0 and np.isfinite(steepest)):
            raise Unsolved(f"steepest edge {steepest}")
        self.masses = masses / steepest
        self.wealth = wealth
        self.gains = gains
        self.rows = rows
        self.pull = SPREAD * reach
        self.bend = self.pull * reach

    def slope(self, shares: Floats) -> tuple[Floats, Floats]:
        """Return the gradient, shape (n,), and the curvature by outcome, shape (atoms,)."""
        wealth = self.wealth + self.gains @ shares
        if float(wealth.min()) <= 0.0:
            raise Unsolved("wealth is not positive in every outcome")
        weights = self.masses / wealth
        return weights @ self.gains + self.pull - self.bend * shares, weights / wealth

    def gap(self, shares: Floats, prices: Floats) -> float:
        """Return how far a point can be from the optimum, infinite if it is not feasible.

        By concavity no feasible y is better by more than (∇f − pR)(y − v) + p(1 − Rv), p ≥ 0.
        """
        slack = 1.0 - self.rows @ shares
        if float(slack.min(initial=0.0)) < -FEASIBLE:
            return float("inf")
        slope, _ = self.slope(shares)
        left = slope - prices @ self.rows
        return float(np.maximum(left - left * shares, -left * shares).sum()) + float(
            prices @ np.maximum(slack, 0.0)
        )


def solve(masses: Floats, wealth: Floats, gains: Floats, rows: Floats, reach: Floats) -> Solution:
    """Return the optimal shares of the ceilings; raises Unsolved without a certificate.

    `masses` and `wealth` have shape (atoms,), `gains` (atoms, n), `rows` (m, n). `reach` in
    (0, 1] is each ceiling's part of the most that policy alone would allow, shape (n,).
    """
    if not (np.isfinite(gains).all() and np.isfinite(rows).all() and float(wealth.min()) > 0.0):
        raise Unsolved("the problem is not finite, or nothing is left to lose")
    # Bits depend on the layout too: rows one after another, always.
    gains, rows = np.ascontiguousarray(gains), np.ascontiguousarray(binding_rows(rows))
    problem = _Problem(masses, wealth, gains, rows, reach)
    if not len(rows):
        whole = np.ones(gains.shape[1])
        slope, _ = problem.slope(whole)
        if float(slope.min()) >= 0.0:
            return Solution(whole, 0.0, 0)
    try:
        with np.errstate(divide="raise", over="raise", invalid="raise"):
            if len(rows) and (found := _by_faces(problem)) is not None:
                return found
            return _interior(problem)
    except (np.linalg.LinAlgError, FloatingPointError) as error:
        raise Unsolved(str(error)) from error


def binding_rows(rows: Floats) -> Floats:
    """Return the rows that can bind within the box, less those that a neighbour implies."""
    rows = rows[rows.sum(axis=1) > 1.0]
    if len(rows) < 2:
        return rows
    below = (rows[:-1] <= rows[1:]).all(axis=1)
    above = (rows[1:] <= rows[:-1]).all(axis=1) & ~below
    keep = np.ones(len(rows), dtype=np.bool_)
    keep[:-1] &= ~below
    keep[1:] &= ~above
    return rows[keep]


def _by_faces(problem: _Problem) -> Solution | None:
    """Go from face to face uphill, never leaving what is feasible; None if that does not end soon.

    A face is which shares are 0 or 1 and which rows are equations. Newton's step on it is cut
    short by the first bound or row in its way, which then belongs to the face; where it fits,
    everything that would rather be free is freed.
    """
    rows = problem.rows
    point, full, none, held = _vertex(problem)
    if float((rows @ point).max()) > 1.0 + FEASIBLE:
        return None
    for step in range(FACES_MAX if len(rows) == 1 else FACES_OF_ROWS_MAX):
        free = np.flatnonzero(~(full | none))
        equations = np.flatnonzero(held & (rows[:, free] > 0.0).any(axis=1))
        try:
            moved = _newton(problem, point, free, equations)
            if moved is None:
                return None
            raw, row_prices = moved
            length, first, row = _in_the_way(rows, point, raw - point, held)
            point = np.clip(point + length * (raw - point), 0.0, 1.0)
            if row is not None:
                held[row] = True
                continue
            if first is not None:
                rises = bool(raw[first] > point[first])
                (full if rises else none)[first] = True
                point[first] = 1.0 if rises else 0.0
                continue
            gap = problem.gap(point, np.maximum(row_prices, 0.0))
            if gap < GAP_FINAL:
                return Solution(point, gap, step)
            left = problem.slope(point)[0] - row_prices @ rows
        except Unsolved:  # it left the domain
            return None
        full, none, held = full & (left >= 0.0), none & (left <= 0.0), held & (row_prices >= 0.0)
    return None


def _vertex(problem: _Problem) -> tuple[Floats, Flags, Flags, Flags]:
    """Return shares that use the tightest row best by the slopes at the middle of the box.

    With them which are 1, which are 0, and the row; the last one that fits in part is neither.
    """
    rows, n = problem.rows, problem.gains.shape[1]
    middle = np.full(n, 0.5)
    middle *= min(1.0, 0.9 / max(0.9, float((rows @ middle).max())))
    slope, _ = problem.slope(middle)
    tightest = int(rows.sum(axis=1).argmax())
    row = rows[tightest]
    by_use = np.argsort(-slope / np.maximum(row, ROW_LEAST), kind="stable")
    wanted = by_use[slope[by_use] > 0.0]
    fits = np.cumsum(row[wanted]) <= 1.0
    full, held = np.zeros(n, dtype=np.bool_), np.zeros(len(rows), dtype=np.bool_)
    full[wanted[fits]] = True
    none, held[tightest] = ~full, True
    point = full.astype(np.float64)
    for partly in wanted[~fits][:1].tolist():
        none[partly] = False
        point[partly] = (1.0 - float(row[full].sum())) / row[partly]
    return point, full, none, held


def _in_the_way(
    rows: Floats, point: Floats, move: Floats, held: Flags
) -> tuple[float, int | None, int | None]:
    """Return how far a move may go, and the share or the row that stops it if one does."""
    ends = np.full(len(point), np.inf)
    np.divide(1.0 - point, move, out=ends, where=move > STILL)
    np.divide(-point, move, out=ends, where=move < -STILL)
    uses = rows @ move
    limits = np.full(len(rows), np.inf)
    np.divide(1.0 - rows @ point, uses, out=limits, where=(uses > STILL) & ~held)
    first, row = int(ends.argmin()), int(limits.argmin())
    if min(ends[first], limits[row]) >= 1.0:
        return 1.0, None, None
    if limits[row] < ends[first]:
        return max(0.0, float(limits[row])), None, row
    return float(ends[first]), first, None


def _interior(problem: _Problem) -> Solution:
    """Follow the central path until the active set is known, or the gap is closed."""
    gains, rows = problem.gains, problem.rows
    atoms, n = gains.shape
    total = 2 * n + len(rows)
    stacked = np.vstack([gains, rows])
    shares = np.full(n, 0.5)
    fullest = float((rows @ shares).max(initial=0.0))
    if fullest > 0.9:
        shares *= 0.9 / fullest
    slack, prices, change = np.empty(total), np.ones(total), np.empty(total)
    weights = np.empty(atoms + len(rows))
    centring, polish_below = 0.1, POLISH_BELOW
    for step in range(STEPS_MAX):
        slack[:n], slack[n : 2 * n], slack[2 * n :] = shares, 1.0 - shares, 1.0 - rows @ shares
        tightness = float(slack @ prices) / total
        if tightness < polish_below:
            try:
                found = _polish(problem, shares, slack, prices)
            except Unsolved:  # it left the domain: the path has not led far enough
                found = None
            if found is None and tightness < GAP_MAX / 100:
                gap = problem.gap(shares, prices[2 * n :])
                found = (shares, gap) if gap < GAP_MAX else None
            if found is not None:
                return Solution(found[0], found[1], step)
            polish_below = tightness / 100
        slope, curvature = problem.slope(shares)
        ratio = prices / slack
        weights[:atoms], weights[atoms:] = curvature, ratio[2 * n :]
        matrix = (stacked.T * weights) @ stacked
        matrix.ravel()[:: n + 1] += ratio[:n] + ratio[n : 2 * n] + problem.bend
        push = (centring * tightness) / slack
        move = np.linalg.solve(matrix, slope + push[:n] - push[n : 2 * n] - push[2 * n :] @ rows)
        change[:n], change[n : 2 * n], change[2 * n :] = move, -move, -(rows @ move)
        repricing = push - prices - ratio * change
        length = BACK / max(BACK, float((-change / slack).max()))
        length_of_prices = BACK / max(BACK, float((-repricing / prices).max()))
        shares = shares + length * move
        prices = prices + length_of_prices * repricing
        centring = min(0.5, max(0.05, (1.0 - min(length, length_of_prices)) ** 2))
    raise Unsolved(f"no certificate after {STEPS_MAX} steps")


def _polish(
    problem: _Problem, shares: Floats, slack: Floats, prices: Floats
) -> tuple[Floats, float] | None:
    """Return the exact optimum of the active set that the path points at, corrected a few times.

    None when it does not lead to a certificate.
    """
    rows, n = problem.rows, len(shares)
    full = prices[n : 2 * n] > slack[n : 2 * n]
    none = (prices[:n] > slack[:n]) & ~full
    active = prices[2 * n :] > slack[2 * n :]
    point = shares
    for _ in range(POLISH_STEPS_MAX):
        point = np.where(full, 1.0, np.where(none, 0.0, point))
        free = np.flatnonzero(~(full | none))
        held = np.flatnonzero(active & (rows[:, free] > 0.0).any(axis=1))
        moved = _newton(problem, point, free, held)
        if moved is None:
            return None
        raw, row_prices = moved
        point = np.clip(raw, 0.0, 1.0)
        kept_prices = np.maximum(row_prices, 0.0)
        gap = problem.gap(point, kept_prices)
        if gap < GAP_EXACT:
            return point, gap
        left = problem.slope(point)[0] - kept_prices @ rows
        full = (full & (left > 0.0)) | (raw > 1.0)
        none = (none & (left < 0.0)) | (raw < 0.0)
        active = (row_prices > 0.0) | (1.0 - rows @ point < -1e-12)
    return None


def _newton(
    problem: _Problem, point: Floats, free: Places, held: Places
) -> tuple[Floats, Floats] | None:
    """Return one Newton step on the free shares with the held rows as equations."""
    rows = problem.rows
    row_prices = np.zeros(len(rows))
    if not len(free):
        return point, row_prices
    size = len(free) + len(held)
    slope, curvature = problem.slope(point)
    gains, held_rows = problem.gains[:, free], rows[held]
    matrix, right = np.zeros((size, size)), np.empty(size)
    diagonal = matrix.ravel()[:: size + 1]
    matrix[: len(free), : len(free)] = (gains.T * curvature) @ gains
    matrix[: len(free), len(free) :] = held_rows[:, free].T
    matrix[len(free) :, : len(free)] = held_rows[:, free]
    diagonal[: len(free)] += problem.bend[free]
    diagonal[len(free) :] = -1e-12
    right[: len(free)], right[len(free) :] = slope[free], 1.0 - held_rows @ point
    try:
        step = np.linalg.solve(matrix, right)
    except np.linalg.LinAlgError:
        return None
    if float(np.abs(step[: len(free)]).max()) > 1e3:
        return None
    raw = point.copy()
    raw[free] += step[: len(free)]
    row_prices[held] = step[len(free) :]
    return raw, row_prices
