"""Kalman filters of all joints of all people at once: two models a joint, still and moving.

A measurement is the truth, plus an error that stays for seconds (stature, bone lengths, how the
prior reads a pose), plus one that is new in each image. Only the last may be averaged away. So of
the posterior's covariance S the filter takes the part W as its noise, keeps B = S - W apart, and
what is published is B + P, P the filter's own: never less than one picture can know.

Still and moving are an interacting multiple model (Blom and Bar-Shalom 1988): a joint at rest is
smoothed over many images, one that starts is followed at once.
"""

from dataclasses import dataclass

import numpy as np

from ..matrices import inverted_six
from ..skeleton import NUM_JOINTS, PELVIS
from . import motion, small
from .noise import Noise
from .small import EYE, full, mirrored, outer


@dataclass(frozen=True)
class FilterOptions:
    """What the filters assume. Times in seconds."""

    lively: float = 6.0        # driving noise of the moving model over that of typical motion
    settle: float = 0.015      # walk of the still model: share of W in 1/30 s
    start: float = 1.0         # time until a joint at rest starts to move
    stop: float = 0.5          # time until one that moves comes to rest
    rest: float = 0.05         # m/s, velocity of a joint at rest
    speed: float = 1.0         # m/s, velocity before anything is known of it
    memory: int = 20           # images over which a person's noise is learnt
    drift: tuple = (0.5, 3.0)  # 1/s^2: velocity that errors which stay pretend, along and across


class FilterBank:
    """Positions and velocities of the 17 joints of T people.

    Index 0 of the models is still, 1 moving; the still one has no velocity of its own. What is
    given out has the people first; what is kept has the coordinates first (small.py).

    Attributes:
        moving: (T, 17) probability that the joint moves.
    """

    def __init__(self, options=None):
        """Start with nobody."""
        self.options = options or FilterOptions()
        o, j = self.options, NUM_JOINTS
        self._q = o.lively * (motion.PELVIS_Q + 3 * motion.SPREAD ** 2 / motion.TIME ** 3)
        self._q[PELVIS] = o.lively * motion.PELVIS_Q
        self._drive = self._q * EYE
        # still and moving positions, covariances; velocity of the moving, its covariance with
        # the position and its own; the parts of the last measurement's covariance
        self._x, self._pp = np.zeros((3, 2, 0, j)), np.zeros((6, 2, 0, j))
        self._v, self._vv = np.zeros((3, 0, j)), np.zeros((6, 0, j))
        self._pv = np.zeros((3, 3, 0, j))
        self._w, self._b = np.zeros((6, 0, j)), np.zeros((6, 0, j))
        self.moving = np.zeros((0, j))
        self._noise = Noise(o.memory)
        self._known = {}                               # moments of both models, once asked for

    def __len__(self):
        """How many people."""
        return self.moving.shape[0]

    _ALL = ('_x', '_pp', '_v', '_pv', '_vv', '_w', '_b', 'moving')

    def keep(self, rows):
        """Keep these people (indices or mask), in this order."""
        for name in self._ALL:
            setattr(self, name, np.ascontiguousarray(getattr(self, name)[..., rows, :]))
        self._noise.keep(rows)
        self._known = {}

    def add(self, position, covariance):
        """Start people from one measurement each: (K, 17, 3) m, (K, 17, 3, 3) m^2."""
        k, o = len(position), self.options
        x = small.to_rows(position)
        self._noise.add(x)
        white, bias = self._noise.parts(slice(len(self), None), x, small.pack(covariance))
        new = (np.stack((x, x), 1), np.stack((white, white), 1), np.zeros(x.shape),
               np.zeros((3, 3, k, NUM_JOINTS)), np.broadcast_to(o.speed ** 2 * EYE, white.shape),
               white, bias, np.full((k, NUM_JOINTS), 0.5))
        for name, more in zip(self._ALL, new, strict=True):
            setattr(self, name, np.concatenate((getattr(self, name), more), axis=-2))
        self._known = {}

    def turn(self, rotation, translation):
        """Express all that is held in another frame: x_new = R x_old + t.

        Args:
            rotation: (3, 3); translation: (3,) m.
        """
        if not len(self):
            return
        for name, turn in (('_x', rotation), ('_v', rotation),
                           ('_pv', np.kron(rotation, rotation)),
                           *((n, small.turning(rotation)) for n in ('_pp', '_vv', '_w', '_b'))):
            old = getattr(self, name)
            setattr(self, name, (turn @ old.reshape(len(turn), -1)).reshape(old.shape))
        self._x += np.asarray(translation)[:, None, None, None]
        self._noise.turn(rotation, translation)
        self._known = {}

    def _rows(self, rows):
        """The rows, or a slice where they are everybody: arrays are then not copied."""
        everybody = len(rows) == len(self) and list(rows) == list(range(len(rows)))
        return slice(None) if everybody else rows

    def predict(self, rows, dt):
        """Move people on by ``dt`` seconds, a time between images."""
        o, rows = self.options, self._rows(rows)
        m, v = self.moving[rows], self._v[:, rows]
        x, pp = self._x[:, :, rows], self._pp[:, :, rows]
        pv, vv = self._pv[:, :, rows], self._vv[:, rows]
        # mix: who was still may have started, who moved may have stopped
        begin, end = 1 - np.exp(-dt / o.start), 1 - np.exp(-dt / o.stop)
        still, stopped = 1 - m, m * end
        started = still * begin
        to_still = still - started + stopped
        to_moving = started + m - stopped
        a = stopped / to_still                    # of the still: share that had moved
        b = started / to_moving                   # of the moving: share that was still
        left = 1 - b
        off = x[:, 1] - x[:, 0]
        spread, more = outer(off), pp[:, 1] - pp[:, 0]
        pp0 = pp[:, 0] + a * (more + (1 - a) * spread)
        pp1 = pp[:, 1] - b * (more - left * spread)
        pv = left * (pv + b * (off[:, None] * v))
        vv = left * (vv + b * outer(v)) + (b * o.rest ** 2) * EYE
        x0, x1, v = x[:, 0] + a * off, x[:, 1] - b * off, left * v
        # move
        self._x[:, 0, rows], self._x[:, 1, rows] = x0, x1 + dt * v
        self._pp[:, 0, rows] = pp0 + (30 * dt * o.settle) * self._w[:, rows]
        self._pp[:, 1, rows] = pp1 + dt * (mirrored(pv) + dt * (vv + (dt / 3) * self._drive))
        vv = vv + (dt / 2) * self._drive
        self._pv[:, :, rows] = pv + dt * full(vv)
        self._vv[:, rows] = vv + (dt / 2) * self._drive
        self._v[:, rows], self.moving[rows] = v, to_moving
        self._known = {}

    def update(self, rows, position, covariance, dt):
        """Take measurements of people who were moved on to their time.

        Args:
            rows: (K,) indices; position: (K, 17, 3) m; covariance: (K, 17, 3, 3) m^2.
            dt: (K,) s since their last measurement.
        """
        rows, z, s = self._rows(rows), small.to_rows(position), small.pack(covariance)
        self._noise.learn(rows, z, s, dt)
        white, self._b[:, rows] = self._noise.parts(rows, z, s)
        self._w[:, rows] = white
        x, six, pv = self._x[:, :, rows], self._pp[:, :, rows], self._pv[:, :, rows]
        inverse, determinant = inverted_six(six + white[:, None])
        inverse, pp = full(inverse), full(six)
        off = z[:, None] - x
        white_off = np.einsum('ij...,j...->i...', inverse, off)
        score = (off * white_off).sum(0) + np.log(determinant)          # (2, K, 17)
        gain = np.einsum('ij...,jl...->il...', pp, inverse)
        self._x[:, :, rows] = x + np.einsum('ij...,j...->i...', pp, white_off)
        self._pp[:, :, rows] = six - 0.5 * mirrored(np.einsum('ij...,jl...->il...', gain, pp))
        self._v[:, rows] += np.einsum('ji...,j...->i...', pv, white_off[:, 1])
        change = np.einsum('ji...,jl...->il...', pv, inverse[:, :, 1])
        self._vv[:, rows] -= 0.5 * mirrored(np.einsum('ij...,jl...->il...', change, pv))
        self._pv[:, :, rows] = pv - np.einsum('ij...,jl...->il...', gain[:, :, 1], pv)
        prior = np.minimum(np.maximum(self.moving[rows], 1e-4), 1 - 1e-4)
        better = np.minimum(np.maximum(0.5 * (score[0] - score[1]), -30), 30)
        likely = prior * np.exp(better)
        self.moving[rows] = likely / (likely + 1 - prior)
        self._known = {}

    def resume(self, rows, dt):
        """People seen again after a gap of ``dt`` (K,) s: go on from where they would be."""
        position, velocity, own = self.carry(rows, dt)
        self._x[:, :, rows] = small.to_rows(position)[:, None]
        self._pp[:, :, rows] = small.pack(own)[:, None]
        self._v[:, rows], self._pv[:, :, rows] = small.to_rows(velocity), 0
        self._vv[:, rows] = self.options.speed ** 2 * EYE
        self.moving[rows] = 0.5
        self._noise.forget(rows)
        self._known = {}

    def carry(self, rows, dt):
        """Where people would be ``dt`` (K,) s after their last measurement.

        The pelvis goes on; the others follow it, and their own motion about it is good for a
        time (tracking/motion.py).

        Returns:
            position (K, 17, 3), velocity (K, 17, 3), covariance of the position (K, 17, 3, 3)
            without the error that stays.
        """
        t = np.broadcast_to(np.asarray(dt, float), (len(self.moving[rows]),))[:, None]
        x, v, own = self.position[rows], self.velocity[rows], self.own[rows]
        about, root = v - v[:, PELVIS:PELVIS + 1], v[:, PELVIS:PELVIS + 1]
        go = motion.pelvis_gain(t, motion.PELVIS_TAU)[..., None]
        reach = motion.limb_gain(t, motion.TIME)
        reach[:, PELVIS] = 0
        x = x + go * root + reach[..., None] * about
        fade = np.exp(-t / motion.PELVIS_TAU)[..., None]
        last = np.exp(-(t / motion.TIME) ** 2)
        last[:, PELVIS] = 0
        variance = motion.limb_variance(t, motion.SPREAD, motion.TIME)
        variance[:, PELVIS] = 0
        variance = variance + motion.pelvis_variance(t, *motion.FITTED[PELVIS])
        unsure = self.velocity_own[rows]
        own = (own + variance[..., None, None] * np.eye(3)
               + (go ** 2)[..., None] * unsure[:, PELVIS:PELVIS + 1]
               + (reach ** 2)[..., None, None] * unsure)
        return x, fade * root + last[..., None] * about, own

    def _moment(self, name, make):
        """What ``make`` gives, made once for each state of the filters."""
        if name not in self._known:
            self._known[name] = make()
        return self._known[name]

    @property
    def bias(self):
        """(T, 17, 3, 3) m^2, covariance of the error that stays."""
        return self._moment('bias', lambda: small.unpack(self._b))

    @property
    def white(self):
        """(T, 17, 3, 3) m^2, covariance of what was new in the last measurement."""
        return small.unpack(self._w)

    @property
    def position(self):
        """(T, 17, 3) m."""
        return self._moment('position', lambda: small.to_vectors(self._place))

    @property
    def _place(self):
        return self._moment('rows of position', lambda: self._x[:, 0] + self.moving * self._off)

    @property
    def _off(self):
        return self._moment('off', lambda: self._x[:, 1] - self._x[:, 0])

    @property
    def own(self):
        """(T, 17, 3, 3) m^2, covariance of the position that the filters answer for."""
        return self._moment('own', lambda: small.unpack(self._own))

    @property
    def _own(self):
        def make():
            more = self._pp[:, 1] - self._pp[:, 0] + (1 - self.moving) * outer(self._off)
            return self._pp[:, 0] + self.moving * more
        return self._moment('rows of own', make)

    def covariance(self):
        """(T, 17, 3, 3) m^2 of the position, with the error that stays."""
        return small.unpack(self._own + self._b)

    @property
    def velocity(self):
        """(T, 17, 3) m/s."""
        return self._moment('velocity', lambda: small.to_vectors(self.moving * self._v))

    @property
    def velocity_own(self):
        """(T, 17, 3, 3) m^2/s^2, without what errors that drift pretend."""
        return self._moment('velocity_own', lambda: small.unpack(self._velocity_own))

    @property
    def _velocity_own(self):
        def make():
            m, rest = self.moving, self.options.rest ** 2 * EYE
            return m * (self._vv - rest + (1 - m) * outer(self._v)) + rest
        return self._moment('rows of velocity_own', make)

    def velocity_covariance(self):
        """(T, 17, 3, 3) m^2/s^2, with what errors that drift pretend."""
        return self._moment('velocity_covariance', lambda: small.unpack(
            self._velocity_own + small.split(small.unit(self._place), self._b,
                                             np.array(self.options.drift)[:, None, None])))
