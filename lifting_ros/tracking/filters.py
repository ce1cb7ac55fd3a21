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

from ..matrices import inverted
from ..skeleton import NUM_JOINTS, PELVIS
from . import motion
from .noise import Noise
from .small import outer, split, unit

_EYE = np.eye(3)


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


def _turned(a):
    return np.swapaxes(a, -1, -2)


class FilterBank:
    """Positions and velocities of the 17 joints of T people.

    All arrays have the people first. Index 0 of the models is still, 1 moving; the still one has
    no velocity of its own.

    Attributes:
        bias: (T, 17, 3, 3) m^2, covariance of the error that stays; moving: (T, 17) probability
        that the joint moves.
    """

    def __init__(self, options=None):
        """Start with nobody."""
        self.options = options or FilterOptions()
        o, j = self.options, NUM_JOINTS
        self._q = o.lively * (motion.PELVIS_Q + 3 * motion.SPREAD ** 2 / motion.TIME ** 3)
        self._q[PELVIS] = o.lively * motion.PELVIS_Q
        # still and moving positions, covariances; velocity of the moving
        self._x = np.zeros((2, 0, j, 3))
        self._pp = np.zeros((2, 0, j, 3, 3))
        self._v, self._pv, self._vv = (np.zeros((0, j, 3)), np.zeros((0, j, 3, 3)),
                                       np.zeros((0, j, 3, 3)))
        self.moving = np.zeros((0, j))
        self.bias = np.zeros((0, j, 3, 3))
        self._w = np.zeros((0, j, 3, 3))
        self._noise = Noise(o.memory)
        self._known = {}                               # moments of both models, once asked for

    def __len__(self):
        """How many people."""
        return self.moving.shape[0]

    _FIRST = ('moving', 'bias', '_w', '_v', '_pv', '_vv')
    _SECOND = ('_x', '_pp')

    def keep(self, rows):
        """Keep these people (indices or mask), in this order."""
        for name in self._FIRST:
            setattr(self, name, getattr(self, name)[rows])
        for name in self._SECOND:
            setattr(self, name, getattr(self, name)[:, rows])
        self._noise.keep(rows)
        self._known = {}

    def add(self, position, covariance):
        """Start people from one measurement each: (K, 17, 3) m, (K, 17, 3, 3) m^2."""
        k, o = len(position), self.options
        self._noise.add(position)
        white, bias = self._noise.parts(slice(len(self), None), position, covariance)
        zero = np.zeros(position.shape + (3,))
        new = {'moving': np.full((k, NUM_JOINTS), 0.5), 'bias': bias, '_w': white,
               '_v': np.zeros(position.shape), '_pv': zero, '_vv': zero + o.speed ** 2 * _EYE,
               '_x': np.stack((position, position)), '_pp': np.stack((white, white))}
        for name in self._FIRST:
            setattr(self, name, np.concatenate((getattr(self, name), new[name])))
        for name in self._SECOND:
            setattr(self, name, np.concatenate((getattr(self, name), new[name]), axis=1))
        self._known = {}

    def turn(self, rotation, translation):
        """Express all that is held in another frame: x_new = R x_old + t.

        Args:
            rotation: (3, 3); translation: (3,) m.
        """
        if not len(self):
            return
        back = rotation.T
        self._x = self._x @ back + translation
        self._noise.turn(rotation, translation)
        self._v = self._v @ back
        for name in ('_pp', '_pv', '_vv', 'bias', '_w'):
            setattr(self, name, rotation @ getattr(self, name) @ back)
        self._known = {}

    def _all(self, rows):
        """The rows, or a slice where they are everybody: arrays are then not copied."""
        everybody = len(rows) == len(self) and list(rows) == list(range(len(rows)))
        return slice(None) if everybody else rows

    def predict(self, rows, dt):
        """Move people on by ``dt`` seconds, a time between images."""
        o, rows = self.options, self._all(rows)
        m, v = self.moving[rows], self._v[rows]
        x, pp = self._x[:, rows], self._pp[:, rows]
        pv, vv = self._pv[rows], self._vv[rows]
        # mix: who was still may have started, who moved may have stopped
        begin, end = 1 - np.exp(-dt / o.start), 1 - np.exp(-dt / o.stop)
        still = 1 - m
        to_still, to_moving = still * (1 - begin) + m * end, still * begin + m * (1 - end)
        a = m * end / to_still                    # of the still: share that had moved
        b = still * begin / to_moving             # of the moving: share that was still
        off = x[1] - x[0]
        spread, more = outer(off), pp[1] - pp[0]
        a_, b_, left = a[..., None, None], b[..., None, None], (1 - b)[..., None, None]
        pp0 = pp[0] + a_ * (more + (1 - a_) * spread)
        pp1 = pp[1] - b_ * (more - left * spread)
        pv = left * (pv + b_ * (off[..., :, None] * v[..., None, :]))
        vv = left * (vv + b_ * outer(v)) + (b_ * o.rest ** 2) * _EYE
        x0, x1 = x[0] + a[..., None] * off, x[1] - b[..., None] * off
        v = left[..., 0] * v
        # move
        q = self._q[:, None, None] * _EYE
        self._x[0, rows], self._x[1, rows] = x0, x1 + dt * v
        self._pp[0, rows] = pp0 + (30 * dt * o.settle) * self._w[rows]
        self._pp[1, rows] = pp1 + dt * (pv + _turned(pv)) + (dt ** 2 * vv + (dt ** 3 / 3) * q)
        self._pv[rows] = pv + (dt * vv + (dt ** 2 / 2) * q)
        self._vv[rows] = vv + dt * q
        self._v[rows], self.moving[rows] = v, to_moving
        self._known = {}

    def update(self, rows, position, covariance, dt):
        """Take measurements of people who were moved on to their time.

        Args:
            rows: (K,) indices; position: (K, 17, 3) m; covariance: (K, 17, 3, 3) m^2.
            dt: (K,) s since their last measurement.
        """
        rows = self._all(rows)
        self._noise.learn(rows, position, covariance, dt)
        white, self.bias[rows] = self._noise.parts(rows, position, covariance)
        self._w[rows] = white
        x, pp, pv = self._x[:, rows], self._pp[:, rows], self._pv[rows]
        inverse, determinant = inverted(pp + white)
        off = position - x
        white_off = (inverse @ off[..., None])[..., 0]
        score = -0.5 * ((off * white_off).sum(-1) + np.log(determinant))   # (2, K, 17)
        gain = pp @ inverse
        self._x[:, rows] = x + (pp @ white_off[..., None])[..., 0]
        pp_new = pp - gain @ pp
        self._pp[:, rows] = (pp_new + _turned(pp_new)) / 2
        back = _turned(pv)
        self._v[rows] += (back @ white_off[1][..., None])[..., 0]
        change = back @ inverse[1]
        vv = self._vv[rows] - change @ pv
        self._vv[rows] = (vv + _turned(vv)) / 2
        self._pv[rows] = pv - gain[1] @ pv
        prior = np.clip(self.moving[rows], 1e-4, 1 - 1e-4)
        odds = np.log(prior / (1 - prior)) + np.clip(score[1] - score[0], -30, 30)
        self.moving[rows] = 1 / (1 + np.exp(-odds))
        self._known = {}

    def resume(self, rows, dt):
        """People seen again after a gap of ``dt`` (K,) s: go on from where they would be."""
        position, velocity, own = self.carry(rows, dt)
        self._x[:, rows], self._pp[:, rows] = position, own
        self._v[rows], self._pv[rows] = velocity, 0
        self._vv[rows] = self.options.speed ** 2 * _EYE
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
        own = (own + variance[..., None, None] * _EYE
               + (go ** 2)[..., None] * unsure[:, PELVIS:PELVIS + 1]
               + (reach ** 2)[..., None, None] * unsure)
        return x, fade * root + last[..., None] * about, own

    def _moment(self, name, make):
        """What ``make`` gives, made once for each state of the filters."""
        if name not in self._known:
            self._known[name] = make()
        return self._known[name]

    @property
    def position(self):
        """(T, 17, 3) m."""
        return self._moment('position', lambda: self._x[0] + self.moving[..., None]
                            * (self._x[1] - self._x[0]))

    @property
    def own(self):
        """(T, 17, 3, 3) m^2, covariance of the position that the filters answer for."""
        return self._moment('own', self._own)

    def _own(self):
        m = self.moving[..., None, None]
        more = self._pp[1] - self._pp[0] + (1 - m) * outer(self._x[1] - self._x[0])
        return self._pp[0] + m * more

    @property
    def velocity(self):
        """(T, 17, 3) m/s."""
        return self._moment('velocity', lambda: self.moving[..., None] * self._v)

    @property
    def velocity_own(self):
        """(T, 17, 3, 3) m^2/s^2, without what errors that drift pretend."""
        return self._moment('velocity_own', self._velocity_own)

    def _velocity_own(self):
        m = self.moving[..., None, None]
        rest = self.options.rest ** 2
        return m * (self._vv - rest * _EYE + (1 - m) * outer(self._v)) + rest * _EYE

    def velocity_covariance(self):
        """(T, 17, 3, 3) m^2/s^2, with what errors that drift pretend."""
        return self._moment('velocity_covariance', lambda: self.velocity_own + split(
            unit(self.position), self.bias, np.array(self.options.drift)))
