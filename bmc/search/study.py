"""The study of a search: Optuna proposes candidates, and keeps every trial in a storage."""

from __future__ import annotations

import hashlib
import json
import secrets
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from bmc import writing
from bmc.errors import MissingError, StorageError, UsageError, reason_of
from bmc.locks import BusyError

RUNGS, SECONDS, SHOWN, REASON = "rungs", "seconds", "shown", "reason"
"""Attributes of a trial: what was measured at each rung, how long the steps of each took, its steps
in words, why it failed."""
_NAME = "bmc compress"
_IDENTITY, _SECONDS, _FINALISTS = "identity", "seconds", "seconds of finalists"
_NUMBER = "number"
_KILLED, _TRANSIENT = "killed", "transient"
_MOST_KILLS = 3  # of the process in one candidate, such as for its memory: it is given up then
_FAR = 1e6  # of a candidate that cannot be made
_POPULATION = 12  # candidates of a generation
PATIENCE = 5  # seconds to wait for another process's write
_SQLITE = "sqlite:///"

optuna.logging.set_verbosity(optuna.logging.ERROR)


class Study:
    """Trials in a storage, which a later call of the same search continues.

    Args:
        storage: URL of the storage, such as sqlite:///study.db or postgresql://HOST/NAME.
        identity: what the trials depend on, by name; a storage of other trials is refused.
        objectives: names of what is minimized.
        sampler: "tpe" or "nsga2".
        seed: random seed of the proposals.

    Raises:
        UsageError: the storage holds another study, or another process has locked it.
        StorageError: the storage cannot be opened.
    """

    def __init__(
        self,
        storage: str,
        identity: Mapping[str, Any],
        objectives: Sequence[str],
        sampler: str,
        seed: int,
    ) -> None:
        self.storage, self._sampler, self._seed = shown_url(storage), sampler, seed
        is_file = storage.startswith(_SQLITE)
        if is_file:
            Path(storage.removeprefix(_SQLITE)).absolute().parent.mkdir(parents=True, exist_ok=True)
        with self._errors():
            engine = {"connect_args": {"timeout": PATIENCE}} if is_file else None
            opened = RDBStorage(storage, engine_kwargs=engine)
            names = optuna.get_all_study_names(storage=opened)
            if names and _NAME not in names:
                raise UsageError(
                    f"{storage} holds the study {names[0]!r}, which is not one of bmc compress; "
                    "name another place with --storage"
                )
            self._study = optuna.create_study(
                storage=opened,
                study_name=_NAME,
                directions=["minimize"] * len(objectives),
                load_if_exists=True,
            )
            self._check(identity, is_file)
            if _NUMBER not in self._study.user_attrs:
                self._study.set_user_attr(_NUMBER, secrets.token_hex(16))

    @property
    def number(self) -> str:
        """A random number that tells this study from all others, also of the same search."""
        return str(self.kept(_NUMBER))

    def queue(self, params: Mapping[str, Any]) -> None:
        """Queue a candidate, which `ask` returns next; parameters that are missing are drawn."""
        with self._errors():
            self._study.enqueue_trial(dict(params))

    def queued(self) -> list[dict[str, Any]]:
        """Return the parameters that each trial, finished or not, was given; {} for none.

        Those whose worker was lost are left out, unless that has happened again and again.
        """
        with self._errors():
            trials = self._study.get_trials(deepcopy=False)
        lost = [fixed_of(trial) for trial in trials if trial.user_attrs.get(_TRANSIENT)]
        again = [given for given in lost if lost.count(given) < _MOST_KILLS]
        return [{} if given in again else given for given in map(fixed_of, trials)]

    def count(self) -> int:
        """Return the number of trials, finished or not; one whose process was killed counts once.

        What is proposed next depends on it, so a search that was killed continues as another would.
        """
        with self._errors():
            trials = self._study.get_trials(deepcopy=False)
        return sum(not _is_queued_again(trial) for trial in trials)

    def impossible(self) -> list[FrozenTrial]:
        """Return the trials of candidates that cannot be made."""
        return [trial for trial in self._lasting() if trial.params]

    def ask(self) -> Trial:
        """Return the next trial.

        The proposals of a trial depend on the seed, the number of the trial and the trials before
        it, so a search that was stopped continues as if it had not been. After a candidate that was
        measured before, the next one is drawn at random: samplers that are given the same result
        again propose it even more often.
        """
        with self._errors():
            self._study.sampler = self._sampler_of(self.count())
            return self._study.ask()

    def tell(self, trial: Trial, values: Sequence[float], constraints: Mapping[str, float]) -> None:
        """Complete a trial.

        Args:
            trial: the trial.
            values: its objectives.
            constraints: by how much each limit is exceeded; 0 or less where it is met.
        """
        with self._errors():
            for name, value in constraints.items():
                trial.set_constraint(name, value)
            self._study.tell(trial, list(values))

    def fail(self, trial: Trial, reason: str, is_transient: bool = False) -> None:
        """Record that a candidate cannot be made, and why.

        Samplers do not learn from failed trials, and would propose such candidates again and again:
        for them it is a trial that is far beyond its limits.

        Args:
            trial: the trial.
            reason: why it failed.
            is_transient: whether another attempt may succeed.
        """
        with self._errors():
            trial.set_user_attr(REASON, reason)
            trial.set_user_attr(_TRANSIENT, is_transient)
            trial.set_constraint(REASON, _FAR)
            self._study.tell(trial, [_FAR] * len(self._study.directions))

    def note(self, trial: Trial, name: str, value: Any) -> None:
        """Keep an attribute of a trial."""
        with self._errors():
            trial.set_user_attr(name, value)

    def trials(self) -> list[FrozenTrial]:
        """Return all trials that ended, in the order of their numbers.

        One whose process was killed, so that another trial has its candidate, is none of them.
        """
        with self._errors():
            trials = self._study.get_trials(deepcopy=False)
        ended = (trial for trial in trials if trial.state.is_finished())
        return [trial for trial in ended if not _is_queued_again(trial)]

    def waiting(self) -> int:
        """Return the number of candidates that are queued."""
        with self._errors():
            return len(self._study.get_trials(deepcopy=False, states=(TrialState.WAITING,)))

    def complete(self) -> list[FrozenTrial]:
        """Return the trials that were measured."""
        done = (trial for trial in self.trials() if trial.state == TrialState.COMPLETE)
        return [trial for trial in done if REASON not in trial.user_attrs]

    def failures(self) -> dict[str, str]:
        """Return why candidates cannot be made, by their steps in words."""
        lasting = [trial.user_attrs for trial in self._lasting()]
        return {str(each[SHOWN]): str(each[REASON]) for each in lasting if SHOWN in each}

    def _lasting(self) -> list[FrozenTrial]:
        """Return the failed trials whose candidates are given up, also after several attempts."""
        failed = [trial for trial in self.trials() if REASON in trial.user_attrs]
        words = [trial.user_attrs.get(SHOWN) for trial in failed]
        return [
            trial
            for trial, shown in zip(failed, words, strict=True)
            if not trial.user_attrs.get(_TRANSIENT) or words.count(shown) >= _MOST_KILLS
        ]

    def front(self) -> list[FrozenTrial]:
        """Return the trials within the limits that no other one beats in every objective."""
        with self._errors():
            return list(self._study.best_trials)

    def keep(self, name: str, value: Any) -> None:
        """Keep a fact of the whole study."""
        with self._errors():
            self._study.set_user_attr(name, value)

    def kept(self, name: str) -> Any:
        """Return a fact of the whole study; None where there is none."""
        with self._errors():
            return self._study.user_attrs.get(name)

    @property
    def seconds(self) -> float:
        """How long the trials have taken, all calls together."""
        return float(self.kept(_SECONDS) or 0.0)

    def spend(self, seconds: float) -> None:
        """Add to the time that the trials have taken."""
        self.keep(_SECONDS, self.seconds + seconds)

    @property
    def seconds_of_finalists(self) -> float:
        """How long the finalists have taken, all calls together."""
        return float(self.kept(_FINALISTS) or 0.0)

    def spend_on_finalists(self, seconds: float) -> None:
        """Add to the time that the finalists have taken."""
        self.keep(_FINALISTS, self.seconds_of_finalists + seconds)

    def _sampler_of(self, number: int) -> BaseSampler:
        text = f"{self._seed} {number}".encode()
        seed = int.from_bytes(hashlib.sha256(text).digest()[:4], "big")
        candidates = [trial.user_attrs.get(SHOWN) for trial in self.trials()]
        if candidates and candidates[-1] and candidates[-1] in candidates[:-1]:
            return RandomSampler(seed=seed)
        if self._sampler == "nsga2":
            return NSGAIISampler(population_size=_POPULATION, seed=seed)
        with warnings.catch_warnings():  # the search would not change if `group` went away
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return TPESampler(
                seed=seed,
                multivariate=True,
                group=True,
                constant_liar=True,  # candidates that are measured now are not proposed again
            )

    def _check(self, identity: Mapping[str, Any], is_file: bool) -> None:
        """Refuse the trials of another search; give trials that a killed process left another turn.

        Raises:
            UsageError: the study is of another model, target, budget or space.
        """
        recorded = self._study.user_attrs.get(_IDENTITY)
        if recorded is None:
            self._study.set_user_attr(_IDENTITY, dict(identity))
        elif _as_text(recorded) != _as_text(identity):
            names = {**recorded, **identity}
            name = next(each for each in names if recorded.get(each) != identity.get(each))
            mine = f"{identity.get(name)!r:.60}"
            other = f"its {name} is {recorded.get(name)!r:.60}, and here it is {mine}"
            raise UsageError(
                f"{self.storage} holds the study of another search ({other}); name another place "
                "with --storage or --output; without --storage, --force begins anew"
            )
        if is_file:  # one process at a time writes the file: the others hold the folder's lock
            for trial in self._study.get_trials(states=(TrialState.RUNNING,)):
                killed = trial.user_attrs.get(_KILLED, 0) + 1
                self._study.tell(trial.number, state=TrialState.FAIL)
                if killed < _MOST_KILLS:
                    params = trial.params or fixed_of(trial)
                    self._study.enqueue_trial(params, user_attrs={_KILLED: killed})

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn errors of the storage into errors of bmc, which name it.

        Raises:
            UsageError: another process has locked the storage.
            StorageError: it cannot be read or written.
        """
        try:
            yield
        except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
            if any("locked" in str(each) for each in (error, error.__cause__)):
                raise UsageError(
                    f"{self.storage} is locked by another process; wait for it, or name another "
                    "place with --storage"
                ) from error
            raise StorageError(
                f"the storage {self.storage} cannot be used: {reason_of(error)}; name another "
                "place with --storage"
            ) from error
        except ImportError as error:
            raise MissingError(
                f"{self.storage} needs a driver that is not installed ({reason_of(error)}); for "
                "PostgreSQL: pip install psycopg2-binary"
            ) from error


def hold_file(storage: str) -> None:
    """Take a SQLite file for this command: a study in it counts on being alone.

    Args:
        storage: URL of the storage; others, which several machines share, are not locked.

    Raises:
        UsageError: another command uses the file.
    """
    if storage.startswith(_SQLITE):
        try:
            writing.hold(Path(storage.removeprefix(_SQLITE)).absolute())
        except BusyError as error:
            raise UsageError(
                f"{storage} is used by another bmc compress: wait for it, name another file with "
                "--storage, or share the trials through PostgreSQL"
            ) from error


def _is_queued_again(trial: FrozenTrial) -> bool:
    """Tell whether a trial's process was killed, so that another trial has its candidate."""
    killed = int(trial.user_attrs.get(_KILLED, 0)) + 1
    return bool(trial.state == TrialState.FAIL and killed < _MOST_KILLS)


def _as_text(identity: Mapping[str, Any]) -> str:
    return json.dumps(dict(identity), sort_keys=True)


def fixed_of(trial: FrozenTrial) -> dict[str, Any]:
    """Return the parameters that a queued trial was given, where it has drawn none yet."""
    return dict(trial.system_attrs.get("fixed_params", {}))


def shown_url(storage: str) -> str:
    """Return a URL without its password.

    Raises:
        UsageError: it is no URL of a storage.
    """
    try:
        return str(make_url(storage).render_as_string(hide_password=True))
    except ArgumentError as error:
        raise UsageError(
            f"storage is {storage!r}; it must look like sqlite:///study.db or "
            "postgresql://USER@HOST/NAME"
        ) from error
