"""The lift between stages as four Triton kernels, for a GPU that only has to infer.

:class:`.lift.Lift` in torch's operations is some 130 kernels a stage, each far smaller than its
launch; here it is four, and one more for the search. The numbers are the same to rounding
(``test/test_fused.py``). Needs the package ``triton``, which CUDA builds of torch for x86 bring
along; where it is missing torch's operations run.
"""

import torch

from ..skeleton import INDEX, NUM_JOINTS

try:
    import triton
    import triton.language as tl
except ImportError:     # a CPU build of torch, or a Jetson's
    triton = None

_JOINTS = 32            # joints of a tile, a power of two
_COLUMNS = 16           # columns [E | I | mu] of a tile
_NECK, _PELVIS = INDEX['neck'], INDEX['pelvis']


def ready(belief, dims):
    """Whether these kernels can do a lift of such maps: no gradients, no tracing, CUDA."""
    return (triton is not None and belief.is_cuda and dims + 4 <= _COLUMNS
            and not torch.is_grad_enabled() and not torch.jit.is_tracing()
            and not torch.compiler.is_compiling())


if triton is not None:
    @triton.jit
    def _peaks(belief, cells, top, h, w, REACH: tl.constexpr, BLOCK: tl.constexpr):
        """Soft peak and maximum of each map: see ``rays.soft_peaks``."""
        map_ = tl.program_id(0)
        i = tl.arange(0, BLOCK)
        inside = i < h * w
        b = tl.load(belief + map_.to(tl.int64) * h * w + i, mask=inside, other=-1.0)
        at = tl.argmax(b, 0)
        x, y = i % w, i // w
        dx, dy = x - at % w, y - at // w
        near = inside & (dx <= REACH) & (dx >= -REACH) & (dy <= REACH) & (dy >= -REACH)
        b_near = tl.where(near, b, 0.0)
        mass = tl.sum(b_near, 0) + 1e-6
        px = (at % w) + tl.sum(b_near * dx.to(tl.float32), 0) / mass
        py = (at // w) + tl.sum(b_near * dy.to(tl.float32), 0) / mass
        tl.store(cells + 2 * map_, px)
        tl.store(cells + 2 * map_ + 1, py)
        tl.store(top + map_, tl.max(b, 0))

    @triton.jit
    def _rays(cells, weight, camera, person, stride, JOINTS: tl.constexpr):
        """Unit rays (J,) x, y, z forward, left, up, and weights, of the joints of a person."""
        j = tl.arange(0, JOINTS)
        there = j < 17
        f = tl.load(camera + 3 * person)
        mx = tl.load(camera + 3 * person + 1) - (stride - 1) / 2
        my = tl.load(camera + 3 * person + 2) - (stride - 1) / 2
        at = cells + 2 * (person * 17 + j)
        y = (mx - stride * tl.load(at, mask=there, other=0.0)) / f
        z = (my - stride * tl.load(at + 1, mask=there, other=0.0)) / f
        length = tl.sqrt(1 + y * y + z * z)
        w = tl.load(weight + person * 17 + j, mask=there, other=0.0)
        return 1 / length, y / length, z / length, w

    @triton.jit
    def _turned(level, tilted, turn, rx, ry, rz, NECK: tl.constexpr, PELVIS: tl.constexpr,
                JOINTS: tl.constexpr):
        """Frame of a turn, its nine numbers: see ``Lift.frames``."""
        j = tl.arange(0, JOINTS)
        end = tl.where(j == NECK, 1.0, 0.0) - tl.where(j == PELVIS, 1.0, 0.0)
        uy, uz = tl.sum(end * ry, 0), tl.sum(end * rz, 0)
        length = tl.sqrt(uy * uy + uz * uz) + 1e-9
        tilt = tl.load(tilted + turn).to(tl.float32)
        cos = 1 + tilt * (uz / length - 1)
        sin = -tilt * uy / length
        at = level + 9 * turn
        a, b, c = tl.load(at), tl.load(at + 1), tl.load(at + 2)
        d, e, f = tl.load(at + 3), tl.load(at + 4), tl.load(at + 5)
        g, h, i = tl.load(at + 6), tl.load(at + 7), tl.load(at + 8)
        # level @ [[1, 0, 0], [0, cos, sin], [0, -sin, cos]]
        return (a, b * cos - c * sin, b * sin + c * cos,
                d, e * cos - f * sin, e * sin + f * cos,
                g, h * cos - i * sin, h * sin + i * cos)

    @triton.jit
    def _normal(columns, mode, dx, dy, dz, w, SIZE: tl.constexpr, JOINTS: tl.constexpr,
                COLUMNS: tl.constexpr):
        """[E | I | mu] of a mode by axis, (J, C) each, and B^T A B of it (C, C)."""
        j = tl.arange(0, JOINTS)[:, None]
        c = tl.arange(0, COLUMNS)[None, :]
        there = (j < 17) & (c < SIZE)
        at = columns + mode * (17 * 3 * SIZE) + j * (3 * SIZE) + c
        ex = tl.load(at, mask=there, other=0.0)
        ey = tl.load(at + SIZE, mask=there, other=0.0)
        ez = tl.load(at + 2 * SIZE, mask=there, other=0.0)
        along = dx[:, None] * ex + dy[:, None] * ey + dz[:, None] * ez
        w2 = w[:, None]
        full = tl.dot(tl.trans(ex), w2 * (ex - dx[:, None] * along), input_precision='ieee')
        full += tl.dot(tl.trans(ey), w2 * (ey - dy[:, None] * along), input_precision='ieee')
        full += tl.dot(tl.trans(ez), w2 * (ez - dz[:, None] * along), input_precision='ieee')
        return ex, ey, ez, full

    @triton.jit
    def _damped(full, damping, noise, SIZE: tl.constexpr, COLUMNS: tl.constexpr):
        """``full`` over the noise, with the prior's precision; ones on what is padding."""
        r = tl.arange(0, COLUMNS)[:, None]
        c = tl.arange(0, COLUMNS)[None, :]
        ridge = tl.load(damping + tl.arange(0, COLUMNS), mask=tl.arange(0, COLUMNS) < SIZE,
                        other=1.0)
        return full / noise + tl.where(r == c, ridge[None, :], 0.0)

    @triton.jit
    def _search(cells, weight, camera, level, tilted, columns, damping, noise, log_weight, score,
                stride, nearest, SIZE: tl.constexpr, MODES: tl.constexpr, NECK: tl.constexpr,
                PELVIS: tl.constexpr, JOINTS: tl.constexpr, COLUMNS: tl.constexpr):
        """-2 log evidence of one person, turn and mode: see ``Lift.search``."""
        person, choice = tl.program_id(0), tl.program_id(1)
        turn, mode = choice // MODES, choice % MODES
        x, y, z, w = _rays(cells, weight, camera, person, stride, JOINTS)
        a, b, c, d, e, f, g, h, i = _turned(level, tilted, turn, x, y, z, NECK, PELVIS, JOINTS)
        dx = a * x + b * y + c * z
        dy = d * x + e * y + f * z
        dz = g * x + h * y + i * z
        ex, ey, ez, full = _normal(columns, mode, dx, dy, dz, w, SIZE, JOINTS, COLUMNS)
        n = tl.load(noise + mode)
        square = _damped(full, damping, n, SIZE, COLUMNS)
        row_at = tl.arange(0, COLUMNS)
        r, col_at = row_at[:, None], row_at[None, :]
        logdet = 0.0
        for k in range(SIZE - 1):
            row = tl.sum(tl.where(r == k, square, 0.0), 0)
            column = tl.sum(tl.where(col_at == k, square, 0.0), 1)
            pivot = tl.maximum(tl.sum(tl.where(row_at == k, row, 0.0), 0), 1e-12)
            logdet += tl.log(pivot)
            row = row / pivot
            square -= (column - tl.where(row_at == k, 1.0, 0.0))[:, None] * row[None, :]
        last = tl.sum(tl.where(col_at == SIZE - 1, square, 0.0), 1)
        residual = tl.sum(tl.where(row_at == SIZE - 1, last, 0.0), 0)
        there = tl.arange(0, JOINTS) < 17
        depth = -tl.sum(tl.where(there, dx, 0.0), 0) * tl.sum(
            tl.where(row_at == SIZE - 4, last, 0.0), 0)
        depth -= tl.sum(tl.where(there, dy, 0.0), 0) * tl.sum(
            tl.where(row_at == SIZE - 3, last, 0.0), 0)
        depth -= tl.sum(tl.where(there, dz, 0.0), 0) * tl.sum(
            tl.where(row_at == SIZE - 2, last, 0.0), 0)
        depth = depth / 17
        seen = tl.sum(w, 0)
        out = (residual + 2 * seen * tl.log(n) + logdet - 2 * tl.load(log_weight + mode)
               - 4 * seen * tl.log(tl.maximum(depth, nearest)))
        out = tl.where(depth > nearest, out, out + 1e6)
        tl.store(score + person * tl.num_programs(1) + choice, out)

    @triton.jit
    def _solve(cells, weight, camera, level, tilted, columns, damping, noise, model, turns, modes,
               last, joints, variance, frames, stride, robust, SIZE: tl.constexpr,
               DOUBT: tl.constexpr, NECK: tl.constexpr, PELVIS: tl.constexpr,
               JOINTS: tl.constexpr, COLUMNS: tl.constexpr):
        """Pose of one person for a mode and turn: see ``Lift.solve_one`` and ``Lift.doubt``."""
        person = tl.program_id(0)
        turn, mode = tl.load(turns + person), tl.load(modes + person)
        x, y, z, w = _rays(cells, weight, camera, person, stride, JOINTS)
        n = tl.load(noise + mode)
        j = tl.arange(0, JOINTS)
        there = j < 17
        out = 3 * (person * 17 + j)
        at = frames + 9 * person
        if not DOUBT:
            a, b, c, d, e, f, g, h, i = _turned(level, tilted, turn, x, y, z, NECK, PELVIS,
                                                JOINTS)
        else:
            a, b, c = tl.load(at), tl.load(at + 1), tl.load(at + 2)
            d, e, f = tl.load(at + 3), tl.load(at + 4), tl.load(at + 5)
            g, h, i = tl.load(at + 6), tl.load(at + 7), tl.load(at + 8)
            px = tl.load(last + out, mask=there, other=0.0)
            py = tl.load(last + out + 1, mask=there, other=0.0)
            pz = tl.load(last + out + 2, mask=there, other=0.0)
            along = px * x + py * y + pz * z
            ox, oy, oz = px - along * x, py - along * y, pz - along * z
            w = w / (1 + (ox * ox + oy * oy + oz * oz) / (n * robust * robust))
        dx = a * x + b * y + c * z
        dy = d * x + e * y + f * z
        dz = g * x + h * y + i * z
        ex, ey, ez, full = _normal(columns, mode, dx, dy, dz, w, SIZE, JOINTS, COLUMNS)
        row_at = tl.arange(0, COLUMNS)
        r, col_at = row_at[:, None], row_at[None, :]
        is_mean = col_at == SIZE - 1
        right = tl.sum(tl.where(is_mean, full / n, 0.0), 1)
        right = tl.where(row_at < SIZE - 1, right, 0.0)
        square = _damped(full, damping, n, SIZE, COLUMNS)
        inner = (r < SIZE - 1) & (col_at < SIZE - 1)
        square = tl.where(inner, square, tl.where(r == col_at, 1.0, 0.0))
        inverse = tl.where(r == col_at, 1.0, 0.0)
        for k in range(SIZE - 1):
            row = tl.sum(tl.where(r == k, square, 0.0), 0)
            other = tl.sum(tl.where(r == k, inverse, 0.0), 0)
            column = tl.sum(tl.where(col_at == k, square, 0.0), 1)
            pivot = tl.maximum(tl.sum(tl.where(row_at == k, row, 0.0), 0), 1e-12)
            off = (column - tl.where(row_at == k, 1.0, 0.0))[:, None]
            square -= off * (row / pivot)[None, :]
            inverse -= off * (other / pivot)[None, :]
        inverse = tl.where(inner, inverse, 0.0)
        at_mean = tl.where(row_at == SIZE - 1, 1.0, 0.0)[None, :]
        zx = tl.dot(ex, inverse, input_precision='ieee')
        zy = tl.dot(ey, inverse, input_precision='ieee')
        zz = tl.dot(ez, inverse, input_precision='ieee')
        px = tl.sum(ex * at_mean - zx * right[None, :], 1)
        py = tl.sum(ey * at_mean - zy * right[None, :], 1)
        pz = tl.sum(ez * at_mean - zz * right[None, :], 1)
        spread = tl.sum(zx * ex + zy * ey + zz * ez, 1) / 3 + tl.load(model + mode)
        tl.store(joints + out, a * px + d * py + g * pz, mask=there)
        tl.store(joints + out + 1, b * px + e * py + h * pz, mask=there)
        tl.store(joints + out + 2, c * px + f * py + i * pz, mask=there)
        tl.store(variance + person * 17 + j, spread, mask=there)
        if not DOUBT:
            tl.store(at, a)
            tl.store(at + 1, b)
            tl.store(at + 2, c)
            tl.store(at + 3, d)
            tl.store(at + 4, e)
            tl.store(at + 5, f)
            tl.store(at + 6, g)
            tl.store(at + 7, h)
            tl.store(at + 8, i)

    @triton.jit
    def _draw(joints, variance, camera, drawn, h, w, stride, BLOCK: tl.constexpr):
        """The pose drawn as maps, as wide as it is unsure: see ``Lift.forward``."""
        map_ = tl.program_id(0)
        person = map_ // 17
        depth = tl.maximum(tl.load(joints + 3 * map_), 0.2)
        f = tl.load(camera + 3 * person)
        mx = tl.load(camera + 3 * person + 1) - (stride - 1) / 2
        my = tl.load(camera + 3 * person + 2) - (stride - 1) / 2
        cx = (mx - f * tl.load(joints + 3 * map_ + 1) / depth) / stride
        cy = (my - f * tl.load(joints + 3 * map_ + 2) / depth) / stride
        wide = f / stride / depth
        spread = tl.load(variance + map_) * wide * wide + 1.0
        spread = tl.minimum(spread, w * w / 64.0)
        i = tl.arange(0, BLOCK)
        dx, dy = (i % w) - cx, (i // w) - cy
        gx = tl.exp(-tl.minimum(dx * dx / (2 * spread), 20.0))
        gy = tl.exp(-tl.minimum(dy * dy / (2 * spread), 20.0))
        tl.store(drawn + map_.to(tl.int64) * h * w + i, gx * gy / tl.sqrt(spread),
                 mask=i < h * w)


class Tables:
    """What a lift's kernels read of it: contiguous copies, made once.

    Args:
        lift: :class:`.lift.Lift`; sigma: of a ray, statures.
    """

    def __init__(self, lift, sigma):
        self.mean = lift.mean       # of which these are the tables
        turns = torch.arange(len(lift.near), device=lift.mean.device)
        eye = torch.eye(3, device=lift.mean.device)[None]
        self.level = lift.frames(turns[None], eye)[0].contiguous()          # (R, 3, 3)
        self.tilted = lift.tilted.to(torch.int32).contiguous()
        self.columns = lift.columns().contiguous()                          # (K, 17, 3, M + 4)
        self.damping = torch.cat((lift.damping(), lift.damping()[-1:])).contiguous()
        self.model = lift.variance.contiguous()
        self.noise = (lift.variance + sigma ** 2).contiguous()
        self.log_weight = lift.log_weight.contiguous()
        self.size = int(self.columns.shape[3])

    def common(self):
        """Arguments of both the search and the solution."""
        return self.level, self.tilted, self.columns, self.damping, self.noise


_WHO = dict(NECK=_NECK, PELVIS=_PELVIS, JOINTS=_JOINTS, COLUMNS=_COLUMNS)


def peaks(belief, reach=2):
    """Soft peaks of maps (N, 17, h, w): cells (N, 17, 2), weight (N, 17)."""
    n, j, h, w = belief.shape
    cells, top = belief.new_empty(n, j, 2), belief.new_empty(n, j)
    block = triton.next_power_of_2(h * w)
    _peaks[(n * j,)](belief, cells, top, h, w, REACH=reach, BLOCK=block,
                     num_warps=min(8, max(1, block // 512)))
    return cells, top


def find(tables, cells, weight, camera, stride, nearest):
    """The best turn (N,) and mode (N,) of peaks: see ``Lift.find``."""
    n, modes = len(cells), len(tables.noise)
    score = cells.new_empty(n, len(tables.level) * modes)
    _search[score.shape](cells, weight, camera, *tables.common(), tables.log_weight, score,
                         stride, nearest, SIZE=tables.size, MODES=modes, num_warps=1, **_WHO)
    best = score.argmin(1)
    turn = torch.div(best, modes, rounding_mode='trunc')
    return turn, best - modes * turn


def solve(tables, cells, weight, camera, stride, turn, mode, robust, last=None, frame=None):
    """Pose (N, 17, 3), variance (N, 17), frame (N, 3, 3).

    ``last``: a pose (N, 17, 3) that makes doubt, in its ``frame``.
    """
    n = len(cells)
    joints, variance = cells.new_empty(n, NUM_JOINTS, 3), cells.new_empty(n, NUM_JOINTS)
    frame = cells.new_empty(n, 3, 3) if last is None else frame
    _solve[(n,)](cells, weight, camera, *tables.common(), tables.model, turn, mode,
                 joints if last is None else last, joints, variance, frame, stride, robust,
                 SIZE=tables.size, DOUBT=last is not None, num_warps=1, **_WHO)
    return joints, variance, frame


def draw(joints, variance, camera, h, w, stride):
    """Maps (N, 17, h, w) of poses in the rays' frame."""
    n, j, _ = joints.shape
    drawn = joints.new_empty(n, j, h, w)
    block = triton.next_power_of_2(h * w)
    _draw[(n * j,)](joints, variance, camera, drawn, h, w, stride, BLOCK=block,
                    num_warps=min(8, max(1, block // 512)))
    return drawn
