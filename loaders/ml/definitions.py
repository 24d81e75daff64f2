"""What can be foretold: the models that loaders/ml/models.yml declares."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from loaders.session import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

DECLARED = Path(__file__).parent / "models.yml"
DATASETS = Path(__file__).parent / "datasets"
OUTCOME = "outcome"
"""The column of a dataset that is foretold: true or false."""


@dataclass(frozen=True, slots=True)
class Definition:
    """A model as it is declared.

    dataset: the SQL that gives a row per profile whose outcome is known. profile: the table that
    has what may be known. date, entity: its columns that say when, and of whom. known_after_days:
    days from the date to the first one on which the outcome is known. scored_days: profiles are
    scored that are less than so many days older than the newest. numbers, categories: what is
    foretold by; baseline: the numbers that it must be better than.
    """

    name: str
    description: str
    dataset: str
    profile: str
    date: str
    entity: tuple[str, ...]
    known_after_days: float
    scored_days: float
    numbers: tuple[str, ...]
    categories: tuple[str, ...]
    baseline: tuple[str, ...]

    @property
    def features(self) -> tuple[str, ...]:
        return (*self.numbers, *self.categories)

    @property
    def is_of_moments(self) -> bool:
        """Whether `date` is a moment: who looks ahead for less than a day foretells of such."""
        return self.known_after_days < 1

    @property
    def date_type(self) -> str:
        """Type of `date` in SQL."""
        return "timestamp" if self.is_of_moments else "date"

    def alone(self, numbers: Iterable[str]) -> Definition:
        """The same, foretold by these numbers and nothing else."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        return Definition(**fields | {"numbers": tuple(numbers), "categories": ()})


def database_of(root: Path) -> Path:
    """MLflow's file of all runs and versions; not there where nothing was trained."""
    return root / "ml" / "mlflow.db"


@cache
def definitions() -> Mapping[str, Definition]:
    """The declared models by name.

    Raises:
        ConfigurationError: models.yml lacks something, or has what nobody knows.
    """
    declared = yaml.safe_load(DECLARED.read_text())
    return {name: _definition(name, fields) for name, fields in declared.items()}


def definition_of(name: str) -> Definition:
    """The model of that name.

    Raises:
        ConfigurationError: there is none.
    """
    if name not in definitions():
        raise ConfigurationError(f"no model {name}; there are {', '.join(definitions())}")
    return definitions()[name]


def _definition(name: str, declared: Mapping[str, Any]) -> Definition:
    wanted = {field.name: field.type for field in fields(Definition) if field.name != "name"}
    for which, names in (
        ("lacks", wanted.keys() - declared.keys()),
        ("has", declared.keys() - wanted.keys()),
    ):
        if names:
            raise ConfigurationError(f"{DECLARED.name}: {name} {which} {', '.join(sorted(names))}")
    made = {key: _value(name, key, declared[key], kind) for key, kind in wanted.items()}
    definition = Definition(name=name, **made)
    strange = set(definition.baseline) - set(definition.numbers)
    if strange:
        raise ConfigurationError(
            f"{DECLARED.name}: {name} has a baseline of {', '.join(sorted(strange))}, "
            "which are not among its numbers"
        )
    return definition


def _value(name: str, key: str, value: Any, kind: str) -> Any:
    """A value of a definition, of the type that its field has."""
    if kind == "float" and type(value) in (int, float) and value > 0:
        return value
    if kind == "str" and isinstance(value, str) and value:
        return value
    is_list = kind.startswith("tuple") and isinstance(value, list)
    if is_list and all(isinstance(each, str) for each in value):
        return tuple(value)
    asked = {"float": "a number above 0", "str": "a text"}.get(kind, "a list of names")
    raise ConfigurationError(f"{DECLARED.name}: {name} has {value!r} as {key}; write {asked}")


def require_known_before(definition: Definition, profile_columns: Iterable[str]) -> None:
    """Refuse features that are not of the profile: they are known when all is over.

    Args:
        profile_columns: of the profile table, which has nothing of its date or later.

    Raises:
        ConfigurationError: a feature is the outcome, the date or whom it is about, says when it was
            loaded (`_…`), or is no column of the profile.
    """
    columns = {name for name in profile_columns if not name.startswith("_")}
    allowed = columns - {OUTCOME, definition.date, *definition.entity}
    refused = sorted(set(definition.features) - allowed)
    if refused:
        raise ConfigurationError(
            f"model {definition.name} cannot be foretold by {', '.join(refused)}: "
            f"{definition.profile} has no such column that is known beforehand"
        )
