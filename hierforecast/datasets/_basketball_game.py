"""The rules of the simulated game: many scenes advance together, time is the only loop.

Everything happens in the *attack frame*: the team that has the ball is side 0 and attacks the hoop
on the right, the other is side 1, and defender i marks attacker i. When the ball changes hands the
whole scene is mirrored, so that one set of rules serves both teams and both directions.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hierforecast.datasets._basketball_motion import (
    ACCELERATION,
    HOOP,
    LIMIT,
    REACTION,
    Array,
    Mask,
    elbow_room,
    mark,
    norm,
    pull_back,
    run_to,
    unit,
    walls,
)
from hierforecast.datasets._tracks import COURT, TEAM_SIZE

STEP = 0.16  # seconds between two recorded steps, also between two decisions
SUBSTEPS = 3
DT = STEP / SUBSTEPS
HELD, PASS, SHOT, LOOSE = range(4)

WIDTH = COURT[0]
# Where attackers like to stand: corners, wings, top, hoop, elbows, blocks, high post.
SPOTS_X = (90.0, 90.0, 71.0, 71.0, 63.0, 63.0, 86.0, 72.0, 72.0, 84.0, 84.0, 69.0)
SPOTS_Y = (3.5, 46.5, 6.0, 44.0, 19.0, 31.0, 25.0, 16.0, 34.0, 17.0, 33.0, 25.0)
SPOTS = np.stack([SPOTS_X, SPOTS_Y], axis=-1)
RIM = 6  # row of SPOTS that is a cut to the hoop: run hard, do not stay
NORMALS, UNIFORMS = 4 * TEAM_SIZE + 1, 40  # random numbers a scene uses at each decision


class Game:
    """State of ``S`` scenes in the attack frame. Feet and seconds; sides 0 = attack, 1 = defence.

    Attributes:
        position, velocity: ``(S, 2, 5, 2)``.
        ball, ball_velocity: ``(S, 2)``.
        mirrored: ``(S,)`` whether the attack frame is the mirror image of the court.
        holder: ``(S,)`` attacker who has the ball, or to whom it flies.
    """

    def __init__(self, setup: Array) -> None:
        """Place everybody. `setup`: ``(S, UNIFORMS)`` uniform numbers."""
        count = len(setup)
        self.scene = np.arange(count)
        self.top_speed = 17.0 + 8.0 * setup[:, :10].reshape(count, 2, 5)
        self.goal = SPOTS[np.argsort(setup[:, 10:22], axis=1)[:, :TEAM_SIZE]]
        self.pace = 5.0 + 7.0 * setup[:, 22:27]
        self.timer = 4.0 * setup[:, 27:32]
        # Most scenes begin on the run from the other half.
        run = (setup[:, 32] < 0.6) * (20.0 + 45.0 * setup[:, 33])
        attack = self.goal - np.stack([run, 0 * run], -1)[:, None]
        marks = attack + 0.25 * (HOOP - attack)
        self.position = np.clip(np.stack([attack, marks], 1), 1.0, LIMIT - 1.0)
        self.velocity = np.zeros_like(self.position)
        self.sway = np.zeros_like(self.position)
        self.seen = self.position[:, 0].copy()
        self.holder = (setup[:, 34] * TEAM_SIZE).astype(int)
        self.ball = self._at_holder(self.position[:, 0]) + 1.0
        self.ball_velocity = np.zeros((count, 2))
        self.mode = np.full(count, HELD)
        self.flight = np.zeros(count)  # seconds left in the air
        self.held = np.zeros(count)  # seconds that the holder has had the ball
        self.possession = 8.0 * setup[:, 35]  # seconds that the team has had it
        self.driving = np.zeros(count, bool)
        self.made = np.zeros(count, bool)
        self.hand = 2 * np.pi * setup[:, 36]
        self.mirrored = np.zeros(count, bool)

    def _at_holder(self, values: Array) -> Array:
        return values[self.scene, self.holder]

    def step(self, normal: Array, uniform: Array) -> None:
        """Advance by `STEP`: one round of decisions, then motion in fine steps.

        Args:
            normal: ``(S, NORMALS)`` standard normal numbers.
            uniform: ``(S, UNIFORMS)`` uniform numbers.
        """
        self.timer -= STEP
        self.held += STEP
        self.possession += STEP
        self._choose_spots(uniform)
        self._choose_ball(uniform[:, 14:])
        self._chasers = self._nearest_to_ball()
        self.sway *= np.exp(-STEP / 0.4)
        self.sway += 1.6 * normal[:, :20].reshape(self.sway.shape)
        self.hand += 0.45 * normal[:, 20]
        for _ in range(SUBSTEPS):
            self._move_players()
            self._move_ball()
            self._settle_ball(uniform[:, 30:])

    # --- decisions ------------------------------------------------------------------------

    def _choose_spots(self, uniform: Array) -> None:
        """The attacker who has waited longest leaves for a free spot that is not too far."""
        who = self.timer.argmin(1)
        due = self.timer[self.scene, who] <= 0
        here = self.position[self.scene, 0, who]
        taken = norm(SPOTS[None, :, None] - self.goal[:, None])  # (S, spots, attackers)
        taken[self.scene, :, who] = np.where(norm(SPOTS - here[:, None]) < 5, 0.0, 99.0)
        taste = -np.log(-np.log(uniform[:, :12] + 1e-12) + 1e-12)
        score = taste - 4.0 * (taken.min(2) < 9) - norm(SPOTS - here[:, None]) / 5
        choice = score.argmax(1)
        cut = choice == RIM
        pace = np.where(cut, 15.0, 6.0 + 7.5 * uniform[:, 12])
        pace = np.where(here[:, 0] < 55, np.maximum(pace, 12.0), pace)
        way = norm(SPOTS[choice] - here)
        stay = np.where(cut, 0.2, 0.8 + 3.0 * uniform[:, 13])
        jitter = 3.0 * (uniform[:, [12, 13]] - 0.5)
        rows, who = self.scene[due], who[due]
        self.goal[rows, who] = (SPOTS[choice] + jitter)[due]
        self.pace[rows, who] = pace[due]
        self.timer[rows, who] = (way / pace + stay)[due]

    def _choose_ball(self, uniform: Array) -> None:
        """The holder shoots, passes, drives or waits, by how much room he has."""
        own = self._at_holder(self.position[:, 0])
        far = norm(HOOP - own)
        room = norm(self.position[:, 1] - own[:, None]).min(1)
        held = self.mode == HELD
        late = np.maximum(self.possession - 12.0, 0.0)
        shot = np.where(far < 27, 0.02 + 0.06 * (room > 6) + 0.15 * late, 0.0)
        shot = np.where(far < 5.5, 3.5, shot)
        pass_rate = np.where(far > 40, 0.15, 0.25 + 0.35 * (room < 4) + 0.8 * self.driving)
        drive = np.where((far < 32) & (far > 9) & (room > 2.5), 0.22, 0.0)
        chance = 1 - np.exp(-STEP * np.stack([shot, pass_rate, drive], 1))
        chance[self.held < 0.6] = 0.0
        shoots = held & (uniform[:, 0] < chance[:, 0])
        passes = held & ~shoots & (uniform[:, 1] < chance[:, 1])
        starts = held & ~shoots & ~passes & (uniform[:, 2] < chance[:, 2])
        self.driving = (self.driving | starts) & held & (self.held < 4)
        self._shoot(shoots, far, uniform[:, 3])
        self._pass(passes, uniform[:, 4:9], uniform[:, 9])

    def _shoot(self, who: Mask, far: Array, luck: Array) -> None:
        self.mode[who] = SHOT
        self.flight[who] = (0.45 + far / 32)[who]
        self.ball_velocity[who] = ((HOOP - self.ball) / (0.45 + far / 32)[:, None])[who]
        self.made[who] = (luck < 0.62 - 0.008 * far)[who]

    def _pass(self, who: Mask, taste: Array, speed: Array) -> None:
        """To an open team-mate down a clear lane, led by his velocity."""
        attack, defence = self.position[:, 0], self.position[:, 1]
        lane = attack - self.ball[:, None]  # (S, attackers, 2)
        length = norm(lane)
        gap = norm(attack[:, :, None] - defence[:, None]).min(2)
        to_defence = defence[:, None] - self.ball[:, None, None]  # (S, 1, defenders, 2)
        share = (to_defence * lane[:, :, None]).sum(-1) / (length * length + 1e-9)[:, :, None]
        off_lane = to_defence - np.clip(share, 0, 0.95)[..., None] * lane[:, :, None]
        clear = norm(off_lane).min(2)
        score = np.minimum(gap, 9) / 3 + np.minimum(clear, 5) / 2 - length / 9 + 1.0 * taste
        score += 0.02 * np.minimum(attack[..., 0], 70)
        score[self.scene, self.holder] = -np.inf
        receiver = score.argmax(1)
        time = np.maximum(length[self.scene, receiver] / (30 + 12 * speed), 0.15)
        lead = self.velocity[self.scene, 0, receiver] * (0.85 * time)[:, None]
        landing = np.clip(attack[self.scene, receiver] + lead, 1.0, LIMIT - 1.0)
        self.mode[who] = PASS
        self.flight[who] = time[who]
        self.ball_velocity[who] = ((landing - self.ball) / time[:, None])[who]
        self.holder[who] = receiver[who]
        self.driving[who] = False

    # --- motion ---------------------------------------------------------------------------

    def _nearest_to_ball(self) -> Mask:
        """``(S, 2, 5)``: the nearest of each side, where the ball is nobody's."""
        nearest = norm(self.position - self.ball[:, None, None]).argmin(2)
        return (nearest[..., None] == np.arange(TEAM_SIZE)) & (self.mode == LOOSE)[:, None, None]

    def _wishes(self) -> Array:
        """Velocities ``(S, 2, 5, 2)`` that the players would like to have."""
        attack, defence = self.position[:, 0], self.position[:, 1]
        has = (self.holder[:, None] == np.arange(TEAM_SIZE)) & (self.mode < SHOT)[:, None]
        goal = np.where((has & self.driving[:, None])[..., None], HOOP, self.goal)
        pace = np.where(has, np.minimum(self.pace, 11.0), self.pace)
        pace = np.where(has & self.driving[:, None], 17.0, pace)
        flying = has & (self.mode == PASS)[:, None]
        landing = self.ball + self.ball_velocity * self.flight[:, None]
        goal = np.where(flying[..., None], landing[:, None], goal)
        run = run_to(goal, attack, pace)
        self.seen += (attack - self.seen) * (DT / REACTION)
        follow = mark(defence, self.seen, self.velocity[:, 0], self.ball, has)
        wish = np.stack([run, follow], 1)
        chase = unit(self.ball[:, None, None] - self.position) * 16.0
        return np.where(self._chasers[..., None], chase, wish)

    def _move_players(self) -> None:
        wish = pull_back(self._wishes(), self.top_speed)
        force = (wish - self.velocity) / 0.5 + self.sway
        force += elbow_room(self.position) + walls(self.position)
        self.velocity += pull_back(force, ACCELERATION) * DT
        moved = self.position + self.velocity * DT
        self.position = np.clip(moved, 0.0, LIMIT)
        self.velocity[moved != self.position] = 0.0

    def _move_ball(self) -> None:
        self.flight -= DT
        self.hand += 0.4 * DT
        own, speed = self._at_holder(self.position[:, 0]), self._at_holder(self.velocity[:, 0])
        ahead = unit(HOOP - own + 1.5 * speed)
        beat = 1.4 + 0.5 * np.sin(10.0 * self.held)
        turn = np.stack([np.cos(self.hand), np.sin(self.hand)], -1)
        place = own + unit(ahead + 0.8 * turn) * beat[:, None]
        held = (self.mode == HELD)[:, None]
        loose = (self.mode == LOOSE)[:, None]
        carried = self.ball + speed * DT + (place - self.ball) * (9.0 * DT)
        free = self.ball + self.ball_velocity * DT
        self.ball = np.clip(np.where(held, carried, free), 0.0, LIMIT)
        self.ball_velocity *= np.where(loose, np.exp(-1.6 * DT), 1.0)

    # --- events ---------------------------------------------------------------------------

    def _settle_ball(self, uniform: Array) -> None:
        """End flights: passes are caught or stolen, shots drop or bounce, loose balls are taken."""
        over = self.flight <= 0
        caught = over & (self.mode == PASS)
        rebound = over & (self.mode == SHOT)
        near = norm(self.position - self.ball[:, None, None])  # (S, 2, 5)
        self._bounce(rebound, uniform[:, 0], uniform[:, 1])
        stolen = caught & (near[:, 1].min(1) < 1.6) & (uniform[:, 2] < 0.25)
        self._take(caught & ~stolen, self.holder)
        near[self.made, 0] = np.inf  # after a basket the other side brings the ball in
        best = near.reshape(-1, 10).argmin(1)
        taken = (self.mode == LOOSE) & (near.min((1, 2)) < 2.0) & ~rebound & (self.flight < -0.3)
        self._take(taken & (best < 5), best % 5)
        lost = stolen | (taken & (best >= 5))
        self._turn_over(lost, near[:, 1].argmin(1), uniform[:, 3:8])

    def _bounce(self, who: Mask, angle: Array, strength: Array) -> None:
        self.mode[who] = LOOSE
        self.flight[who] = 0.0
        # Back into the court: the ball leaves the hoop towards the middle half-circle.
        direction = np.pi * (0.5 + angle)
        speed = np.where(self.made, 2.0, 5.0 + 14.0 * strength)
        heading = np.stack([np.cos(direction), np.sin(direction)], -1) * speed[:, None]
        self.ball_velocity[who] = heading[who]

    def _take(self, who: Mask, player: NDArray[np.int_]) -> None:
        self.mode[who] = HELD
        self.holder[who] = player[who]
        self.held[who] = 0.0
        self.driving[who] = False
        self.made[who] = False

    def _turn_over(self, who: Mask, player: NDArray[np.int_], uniform: Array) -> None:
        """The defence has the ball: mirror the scene, and everybody runs the other way."""
        if not who.any():
            return
        self._take(who, player)
        self.possession[who] = 0.0
        self.mirrored ^= who
        for values in (self.position, self.velocity, self.sway, self.top_speed):
            values[who] = values[who][:, ::-1]
        self.position[who, ..., 0] = WIDTH - self.position[who, ..., 0]
        self.ball[who, 0] = WIDTH - self.ball[who, 0]
        self.velocity[who, ..., 0] *= -1
        self.sway[who, ..., 0] *= -1
        self.seen[who] = self.position[who, 0]
        run = np.argsort(uniform, axis=1)  # five different spots, shuffled
        self.goal[who] = SPOTS[[0, 3, 4, 1, 8]][run][who]
        self.pace[who] = (10.0 + 7.0 * uniform)[who]
        self.timer[who] = 4.0 + 2.0 * uniform[who]

    def on_court(self) -> Array:
        """``(S, 11, 2)``: ball, five of team 0, five of team 1, as a camera would see them."""
        side = self.mirrored.astype(int)
        teams = np.stack(
            [self.position[self.scene, side], self.position[self.scene, 1 - side]], axis=1
        )
        everybody = np.concatenate([self.ball[:, None], teams.reshape(-1, 10, 2)], axis=1)
        everybody[self.mirrored, :, 0] = WIDTH - everybody[self.mirrored, :, 0]
        return everybody
