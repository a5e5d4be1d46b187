"""What a run would cost each site, round by round, from public sizes alone: no data is read.

1. The sizes that the sites declare (``privacy.public_patients``) give each one's q and, for a
   target ε, its σ: by ``client/plan.py``, which is what the sites themselves will do.
2. Rounds 1 to n of that plan compose to ε after round n, on a ledger that holds nothing yet.
3. Against a cap (``privacy.epsilon_max``), the first round that would pass it is found exactly.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from client.plan import delta_of, planned_charge
from common.config import SITE_NAME, SITE_NAME_RULE, Settings, TaskSettings
from common.data.partition import site_names
from common.errors import PrivacyError, SettingsError
from common.privacy.accounting import Segment, Spent, epsilon
from common.schema import narrow

EVERY_ROUND = 60
"""Up to as many rounds, ε is computed after each; of more, after :data:`SOME_ROUNDS` of them."""
SOME_ROUNDS = 16


@dataclass(frozen=True)
class Point:
    """ε after a round."""

    server_round: int
    steps: int
    spent: Spent


@dataclass(frozen=True)
class SiteForecast:
    """One site's plan and its price.

    Attributes:
        name: the site, or ``each site`` where one count stands for all.
        public_patients: its public count of ``unit``.
        unit: what one ε is about.
        sample_rate: q.
        noise_multiplier: σ.
        max_grad_norm: C.
        delta: δ of every ε here.
        points: ε after rounds, the last one included.
        runs_out: the first round whose cumulative ε passes the cap, if one does.
    """

    name: str
    public_patients: int
    unit: str
    sample_rate: float
    noise_multiplier: float
    max_grad_norm: float
    delta: float
    points: tuple[Point, ...]
    runs_out: int | None

    @property
    def last(self) -> Point:
        return self.points[-1]

    @property
    def steps_per_round(self) -> int:
        return self.last.steps // self.last.server_round

    def at(self, server_round: int) -> Point:
        """The point of a round of :func:`marked_rounds`."""
        return next(p for p in self.points if p.server_round == server_round)


def forecast(settings: Settings) -> list[SiteForecast]:
    """Every site's plan and price.

    Raises:
        SettingsError: without privacy, or without public sizes.
        PrivacyError: naming every site whose plan is impossible, and why.
    """
    if not settings.privacy.enabled:
        raise SettingsError("privacy=none has no budget; choose privacy=patient or privacy=image")
    sizes = public_sizes(settings)
    with ThreadPoolExecutor() as pool:  # most of an accountant's time is in NumPy, without the GIL
        jobs = {name: pool.submit(_forecast, settings, name, n) for name, n in sizes.items()}
    problems = []
    for name, job in jobs.items():
        error = job.exception()
        if isinstance(error, PrivacyError):
            problems += [f"{name}: {line}" for line in str(error).splitlines()]
    if problems:
        raise PrivacyError("\n".join(problems))
    return [job.result() for job in jobs.values()]


def public_sizes(settings: Settings) -> dict[str, int]:
    """Site to the count that it declares.

    Raises:
        SettingsError: where none is given, or one cannot be a site's.
    """
    public = settings.privacy.public_patients
    if public is None:
        raise SettingsError(
            "privacy.public_patients must be given: a plan follows from the sites' public counts, "
            "as privacy.public_patients={a:500,b:300} or, for one size, privacy.public_patients=500"
        )
    if isinstance(public, Mapping) and settings.partition.name != "natural":
        lacking = [n for n in site_names(settings.partition) if n not in public]
        if lacking:
            raise SettingsError(
                f"privacy.public_patients: counts of the data's own sites say nothing of those of "
                f"partition={settings.partition.name}: give one size for all, as "
                "privacy.public_patients=500, or one for each of "
                f"{', '.join(site_names(settings.partition))}"
            )
    sizes = dict(public) if isinstance(public, Mapping) else {"each site": public}
    problems = [
        f"privacy.public_patients: {name}: expected at least 1, got {count}"
        for name, count in sizes.items()
        if count < 1
    ]
    if isinstance(public, Mapping):
        bad = [name for name in public if not SITE_NAME.fullmatch(name)]
        problems += [f"privacy.public_patients: '{n}': expected {SITE_NAME_RULE}" for n in bad]
    if not sizes:
        problems.append("privacy.public_patients: expected at least one site")
    if problems:
        raise SettingsError(problems)
    return sizes


def marked_rounds(rounds: int) -> list[int]:
    """First, quarter, half and last round: what a table has room for."""
    return sorted({1, max(1, round(rounds / 4)), max(1, round(rounds / 2)), rounds})


def computed_rounds(rounds: int) -> list[int]:
    """The rounds after which ε is computed: all of a few, else some, evenly spaced and marked."""
    if rounds <= EVERY_ROUND:
        return list(range(1, rounds + 1))
    spaced = {max(1, round(rounds * k / SOME_ROUNDS)) for k in range(SOME_ROUNDS + 1)}
    return sorted(spaced | set(marked_rounds(rounds)))


def _forecast(settings: Settings, name: str, count: int) -> SiteForecast:
    experiment = settings.shared(narrow(TaskSettings, settings.data))  # a plan reads no classes
    delta, accountant = delta_of(experiment), experiment.privacy.accountant
    unit = settings.data.unit_name if settings.privacy.unit == "patient" else "image"
    plan = planned_charge(experiment, count, unit)

    def after(server_round: int) -> Point:
        steps = server_round * experiment.round_steps
        taken = Segment(plan.sample_rate, plan.noise_multiplier, steps)
        return Point(server_round, steps, epsilon([taken], delta, accountant))

    points = tuple(after(n) for n in computed_rounds(experiment.rounds))
    cap, runs_out = settings.privacy.epsilon_max, None
    if cap is not None and points[-1].spent.epsilon > cap:
        # ε never falls with the rounds, so the first that passes the cap can be bisected for.
        passed = range(1, experiment.rounds + 1)
        runs_out = 1 + bisect_left(passed, True, key=lambda n: after(n).spent.epsilon > cap)
    return SiteForecast(
        name=name,
        public_patients=count,
        unit=unit,
        sample_rate=plan.sample_rate,
        noise_multiplier=plan.noise_multiplier,
        max_grad_norm=plan.max_grad_norm,
        delta=delta,
        points=points,
        runs_out=runs_out,
    )
