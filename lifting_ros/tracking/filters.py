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

from ..matrices import FROM_SIX, NINE, inverted_six
from ..skeleton import NUM_JOINTS, PELVIS
from . import motion, small
from .noise import Noise
from .small import ABOVE, BELOW, EYE, SQUARES, mirrored, outer


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


# What is kept of a joint, in rows of (T, J): for a handful of people a call of numpy costs more
# than its numbers, so what is treated alike lies side by side. Covariances of the position in the
# still model and in the moving one, of the latter's position with its velocity (all nine), and of
# its velocity; x, y, z of both positions and of the velocity; the probability that the joint
# moves; of the last measurement's covariance what was new, and what stays.
_STILL, _PLACE, _CROSS, _SPEED = slice(0, 6), slice(6, 12), slice(12, 21), slice(21, 27)
_PLACES, _MOVING_MODEL = slice(0, 12), slice(6, 27)
_MEANS, _MOVING, _WHITE, _BIAS = slice(27, 36), 36, slice(37, 43), slice(43, 49)
_NUM_ROWS = 49
#: Rows of the still position, the moving one and the velocity.
_X0, _X1, _V = slice(27, 30), slice(30, 33), slice(33, 36)
#: (3, 2) both models' positions; (6, 2) their covariances.
_BOTH_X, _BOTH_P = 27 + np.arange(6).reshape(2, 3).T, np.arange(12).reshape(2, 6).T
#: (3, 3, 3): those in full, and the velocity's with the position.
_GAINS = np.stack((NINE.reshape(3, 3), 6 + NINE.reshape(3, 3), 12 + np.arange(9).reshape(3, 3).T),
                  -1)
#: Which of the two inverses each of these goes with, (3, 3, 3) of (6, 2) numbers, and (3,).
_MODELS = np.array([0, 1, 1])
_INVERSES = 2 * NINE.reshape(3, 3)[:, :, None] + _MODELS
#: Of (3, 3, 2) numbers the twelve of both models' covariances, and their mirror images.
_UPPER, _LOWER = ((2 * nine[:, None] + np.arange(2)).T.ravel() for nine in (ABOVE, BELOW))


class FilterBank:
    """Positions and velocities of the 17 joints of T people.

    The still model has no velocity of its own. What is given out has the people first; what is
    kept has the coordinates first (small.py).
    """

    def __init__(self, options=None):
        """Start with nobody."""
        self.options = options or FilterOptions()
        o, j = self.options, NUM_JOINTS
        self._q = o.lively * (motion.PELVIS_Q + 3 * motion.SPREAD ** 2 / motion.TIME ** 3)
        self._q[PELVIS] = o.lively * motion.PELVIS_Q
        self._drive = self._q * EYE
        self._rest = o.rest ** 2 * EYE
        self._state = np.zeros((_NUM_ROWS, 0, j))
        self._noise = Noise(o.memory)
        self._known = {}                               # moments of both models, once asked for

    def __len__(self):
        """How many people."""
        return self._state.shape[1]

    @property
    def moving(self):
        """(T, 17) probability that the joint moves."""
        return self._state[_MOVING]

    def keep(self, rows):
        """Keep these people (indices or mask), in this order."""
        self._state = np.ascontiguousarray(self._state[:, rows])
        self._noise.keep(rows)
        self._known = {}

    def add(self, position, covariance):
        """Start people from one measurement each: (K, 17, 3) m, (K, 17, 3, 3) m^2."""
        x = small.to_rows(position)
        self._noise.add(x)
        white, bias = self._noise.parts(slice(len(self), None), x, small.pack(covariance))
        new = np.zeros((_NUM_ROWS, *x.shape[1:]))
        new[_STILL] = new[_PLACE] = new[_WHITE] = white
        new[_SPEED] = self.options.speed ** 2 * EYE
        new[_X0] = new[_X1] = x
        new[_MOVING], new[_BIAS] = 0.5, bias
        self._state = np.concatenate((self._state, new), axis=1)
        self._known = {}

    def turn(self, rotation, translation):
        """Express all that is held in another frame: x_new = R x_old + t.

        Args:
            rotation: (3, 3); translation: (3,) m.
        """
        if not len(self):
            return
        six = small.turning(rotation)
        for part, turn in ((_CROSS, np.kron(rotation, rotation)),
                           (_MEANS, np.kron(np.eye(3), rotation)),
                           *((part, six) for part in (_STILL, _PLACE, _SPEED, _WHITE, _BIAS))):
            old = self._state[part]
            self._state[part] = (turn @ old.reshape(len(turn), -1)).reshape(old.shape)
        for place in (_X0, _X1):
            self._state[place] += np.asarray(translation)[:, None, None]
        self._noise.turn(rotation, translation)
        self._known = {}

    def _rows(self, rows):
        """The rows, or a slice where they are everybody: arrays are then not copied."""
        everybody = list(rows) == list(range(len(self)))
        return slice(None) if everybody else rows

    def _keep_state(self, rows, state):
        """Keep what was made of ``self._state[:, rows]``, where that was a copy."""
        if not isinstance(rows, slice):
            self._state[:, rows] = state
        self._known = {}

    def predict(self, rows, dt):
        """Move people on by ``dt`` seconds, a time between images."""
        o, rows = self.options, self._rows(rows)
        s = self._state[:, rows]
        # mix: who was still may have started, who moved may have stopped
        begin, end = 1 - np.exp(-dt / o.start), 1 - np.exp(-dt / o.stop)
        m = s[_MOVING]
        still, stopped = 1 - m, m * end
        started = still * begin
        to_moving = started + m - stopped
        a = stopped / (still - started + stopped)     # of the still: share that had moved
        b = started / to_moving                       # of the moving: share that was still
        left, off = 1 - b, s[_X1] - s[_X0]
        # how far the models' means are apart, squared: position, with velocity, velocity
        v = s[_V]
        spread = np.concatenate((off, v))
        spread = spread.take(SQUARES[0], 0) * spread.take(SQUARES[1], 0)
        was = s[_STILL].copy()
        s[_STILL] += a * (s[_PLACE] - was + (1 - a) * spread[:6])
        spread *= b
        moving = s[_MOVING_MODEL]
        moving += spread
        moving *= left
        s[_PLACE] += b * was
        s[_SPEED] += b * self._rest
        s[_X0] += a * off
        s[_X1] -= b * off
        v *= left
        s[_MOVING] = to_moving
        # move
        drive, cross, speed = (dt / 2) * self._drive, s[_CROSS], s[_SPEED]
        s[_STILL] += (30 * dt * o.settle) * s[_WHITE]
        s[_PLACE] += dt * (mirrored(cross) + dt * (speed + (2 / 3) * drive))
        speed += drive
        cross += dt * speed.take(NINE, 0)
        speed += drive
        s[_X1] += dt * v
        self._keep_state(rows, s)

    def update(self, rows, position, covariance, dt):
        """Take measurements of people who were moved on to their time.

        Args:
            rows: (K,) indices; position: (K, 17, 3) m; covariance: (K, 17, 3, 3) m^2.
            dt: (K,) s since their last measurement.
        """
        rows, z, measured = self._rows(rows), small.to_rows(position), small.pack(covariance)
        self._noise.learn(rows, z, measured, dt)
        white, bias = self._noise.parts(rows, z, measured)
        s = self._state[:, rows]
        s[_WHITE], s[_BIAS] = white, bias
        some = white.shape[1:]
        off = z[:, None] - s.take(_BOTH_X, 0)
        inverse, determinant = inverted_six(s.take(_BOTH_P, 0) + white[:, None])
        inverse = inverse.reshape(12, *some).take(_INVERSES, 0)
        # of the still position, the moving one and the velocity
        gains = s.take(_GAINS, 0)
        white_off = np.einsum('ij...,j...->i...', inverse[:, :, :2], off)
        score = (off * white_off).sum(0) + np.log(determinant)          # (2, K, 17)
        s[_MEANS] += np.einsum('ijmtk,jmtk->mitk', gains, white_off.take(_MODELS, 1)
                               ).reshape(9, *some)
        share = np.einsum('ij...,jl...->il...', gains, inverse)
        less = np.einsum('ij...,jl...->il...', share[:, :, :2], gains[:, :, :2])
        less = less.reshape(18, *some)
        s[_PLACES] -= 0.5 * (less.take(_UPPER, 0) + less.take(_LOWER, 0))
        cross = s[_CROSS].reshape(3, 3, 1, *some)
        less = np.einsum('ij...,jl...->il...', share[:, :, 1:], cross)
        s[_SPEED] -= 0.5 * mirrored(less[:, :, 1].reshape(9, *some))
        cross -= less[:, :, :1]
        prior = np.minimum(np.maximum(s[_MOVING], 1e-4), 1 - 1e-4)
        better = np.minimum(np.maximum(0.5 * (score[0] - score[1]), -30), 30)
        likely = prior * np.exp(better)
        s[_MOVING] = likely / (likely + 1 - prior)
        self._keep_state(rows, s)

    def resume(self, rows, dt):
        """People seen again after a gap of ``dt`` (K,) s: go on from where they would be."""
        position, velocity, own = self.carry(rows, dt)
        s = self._state[:, rows]
        s[_X0] = s[_X1] = small.to_rows(position)
        s[_STILL] = s[_PLACE] = small.pack(own)
        s[_V], s[_CROSS] = small.to_rows(velocity), 0
        s[_SPEED], s[_MOVING] = self.options.speed ** 2 * EYE, 0.5
        self._noise.forget(rows)
        self._keep_state(rows, s)

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
        return self._moment('bias', lambda: small.unpack(self._state[_BIAS]))

    @property
    def white(self):
        """(T, 17, 3, 3) m^2, covariance of what was new in the last measurement."""
        return small.unpack(self._state[_WHITE])

    @property
    def position(self):
        """(T, 17, 3) m."""
        return self._moment('position', lambda: small.to_vectors(self._place))

    @property
    def _place(self):
        return self._moment('rows of position',
                            lambda: self._state[_X0] + self.moving * self._off)

    @property
    def _off(self):
        return self._moment('off', lambda: self._state[_X1] - self._state[_X0])

    @property
    def own(self):
        """(T, 17, 3, 3) m^2, covariance of the position that the filters answer for."""
        return self._moment('own', lambda: small.unpack(self._own))

    @property
    def _own(self):
        def make():
            s = self._state
            more = s[_PLACE] - s[_STILL] + (1 - self.moving) * outer(self._off)
            more *= self.moving
            more += s[_STILL]
            return more
        return self._moment('rows of own', make)

    def covariance(self):
        """(T, 17, 3, 3) m^2 of the position, with the error that stays."""
        return small.unpack(self._own + self._state[_BIAS])

    @property
    def velocity(self):
        """(T, 17, 3) m/s."""
        return self._moment('velocity', lambda: small.to_vectors(self._speed))

    @property
    def _speed(self):
        return self._moment('rows of velocity', lambda: self.moving * self._state[_V])

    @property
    def velocity_own(self):
        """(T, 17, 3, 3) m^2/s^2, without what errors that drift pretend."""
        return self._moment('velocity_own', lambda: small.unpack(self._velocity_own))

    @property
    def _velocity_own(self):
        def make():
            m, s = self.moving, self._state
            spread = (1 - m) * outer(s[_V])
            spread += s[_SPEED]
            spread -= self._rest
            spread *= m
            spread += self._rest
            return spread
        return self._moment('rows of velocity_own', make)

    def velocity_covariance(self):
        """(T, 17, 3, 3) m^2/s^2, with what errors that drift pretend."""
        return self._moment('velocity_covariance', lambda: small.unpack(self._velocity_all))

    @property
    def _velocity_all(self):
        def make():
            share = np.array(self.options.drift)[:, None, None, None]
            pretended, = small.split(small.unit(self._place), self._state[_BIAS], share)
            return self._velocity_own + pretended
        return self._moment('rows of velocity_covariance', make)

    def joint(self, j):
        """Of one joint of everybody what :class:`.reunion.Sight` keeps.

        Returns:
            position and velocity (T, 2, 3); covariances ``own``, ``bias`` and
            ``velocity_covariance`` (T, 3, 3, 3).
        """
        rows = np.concatenate([part[..., j] for part in (
            self._place, self._speed, self._own, self._state[_BIAS], self._velocity_all)]).T
        return (rows[:, :6].reshape(-1, 2, 3),
                (rows[:, 6:].reshape(-1, 3, 6) @ FROM_SIX).reshape(-1, 3, 3, 3))
