"""What was trained, and which of it is in use: MLflow's tracking and registry under the root."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loaders.ml.definitions import database_of
from loaders.ml.monitoring import Point, Spread
from loaders.session import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import mlflow
    from sklearn.pipeline import Pipeline

    from loaders.ml.definitions import Definition
    from loaders.ml.training import Judgement

CHAMPION = "champion"
"""Alias of the version that scores."""
_HERE = Path(__file__).parent
_MONITORING = "monitoring.json"
# What a model is made of, besides plain numbers: a file that has anything else is not loaded.
_TRUSTED = [
    "functools.partial",  # of something that stands here
    "numpy.dtype",
    "sklearn._loss.link.Interval",
    "sklearn._loss.link.LogitLink",
    "sklearn._loss.loss.HalfBinomialLoss",
    "sklearn.ensemble._hist_gradient_boosting.binning._BinMapper",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.utils.validation.check_array",
]


@dataclass(frozen=True, slots=True)
class Trained:
    """A model that was trained, with all that is needed to train it again.

    tables: Delta version of each table that was read. learned_until: the last date of what was
    learned from, UTC. importances: how much each feature tells. plots: name → PNG. spreads, curves:
    of the rows that it was judged on.
    """

    definition: Definition
    model: Pipeline
    baseline: Pipeline
    parameters: Mapping[str, Any]
    seed: int
    tables: Mapping[str, int]
    learned_until: datetime
    judgement: Judgement
    importances: Mapping[str, float]
    plots: Mapping[str, bytes]
    card: str
    spreads: Sequence[Spread]
    curves: Sequence[Point]


@dataclass(frozen=True, slots=True)
class Version:
    """A trained model as the registry has it."""

    name: str
    number: int
    run_id: str
    is_champion: bool
    trained_at: datetime
    learned_until: datetime
    parameters: Mapping[str, Any]
    seed: int
    tables: Mapping[str, int]
    code: str
    figures: Mapping[str, float]


class Registry:
    """The models under a LAKEHOUSE_ROOT."""

    def __init__(self, root: Path) -> None:
        # Nothing is told to anybody, no bar drawn of files on this disk; the names are MLflow's.
        os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
        os.environ["DO_NOT_TRACK"] = "true"
        os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
        import mlflow

        for noisy in ("mlflow", "alembic"):
            logging.getLogger(noisy).setLevel(logging.ERROR)
        self.folder = database_of(root).parent
        self.folder.mkdir(parents=True, exist_ok=True)
        self.address = f"sqlite:///{database_of(root)}"
        self._mlflow = mlflow
        self._client = mlflow.MlflowClient(self.address, self.address)

    def record(self, trained: Trained) -> Version:
        """Keep a run with its model, as the next version of its name."""
        name = trained.definition.name
        self._use()
        with self._mlflow.start_run(experiment_id=self._experiment(name)) as run:
            self._mlflow.log_params({**trained.parameters, "seed": trained.seed})
            self._mlflow.log_metrics(trained.judgement.figures())
            self._mlflow.set_tags(
                {
                    "code": code_version(),
                    "tables": json.dumps(dict(trained.tables)),
                    "learned_until": trained.learned_until.isoformat(),
                }
            )
            with tempfile.TemporaryDirectory() as folder:
                for file, content in {
                    **{f"{plot}.png": image for plot, image in trained.plots.items()},
                    "importances.json": json.dumps(dict(trained.importances), indent=2).encode(),
                    "card.md": trained.card.encode(),
                    _MONITORING: json.dumps(
                        {
                            "spreads": [asdict(each) for each in trained.spreads],
                            "curves": [asdict(each) for each in trained.curves],
                        }
                    ).encode(),
                }.items():
                    (Path(folder) / file).write_bytes(content)
                self._mlflow.log_artifacts(folder)
            logged = {
                part: self._mlflow.sklearn.log_model(
                    model,
                    name=part,
                    serialization_format="skops",
                    skops_trusted_types=_TRUSTED,
                    pip_requirements=["scikit-learn"],
                )
                for part, model in (("baseline", trained.baseline), ("model", trained.model))
            }
        # log_model would register it too, and print what it does
        if not self._client.search_registered_models(f"name = '{name}'"):
            self._client.create_registered_model(name)
        model = logged["model"]
        made = self._client.create_model_version(
            name, model.model_uri, run.info.run_id, model_id=model.model_id
        )
        return self.version(name, int(made.version))

    def versions(self, name: str) -> list[Version]:
        """All versions of a model, the newest first."""
        found = self._client.search_model_versions(f"name = '{name}'")
        champion = self._champion(name)
        made = [self._read(each, champion) for each in found]
        return sorted(made, key=lambda each: -each.number)

    def version(self, name: str, number: int | None = None) -> Version:
        """A version; the newest where no number is given.

        Raises:
            ConfigurationError: there is none.
        """
        for each in self.versions(name):
            if number in (None, each.number):
                return each
        which = "version" if number is None else f"version {number}"
        raise ConfigurationError(f"model {name} has no {which}: python -m loaders ml train {name}")

    def champion(self, name: str) -> Version | None:
        """The version in use; None where none is."""
        return next((each for each in self.versions(name) if each.is_champion), None)

    def promote(self, version: Version) -> None:
        """Have a version be the one in use."""
        self._client.set_registered_model_alias(version.name, CHAMPION, str(version.number))

    def load(self, version: Version, part: str = "model") -> Pipeline:
        """The model of a version, or the `baseline` that it was judged beside."""
        self._use()
        (logged,) = (
            each
            for each in self._client.search_logged_models(
                [self._experiment(version.name)],
                filter_string=f"source_run_id = '{version.run_id}'",
            )
            if each.name == part
        )
        return self._mlflow.sklearn.load_model(logged.model_uri)

    def monitoring(self, version: Version) -> tuple[list[Spread], list[Point]]:
        """What a version was judged on."""
        told = json.loads(
            Path(self._client.download_artifacts(version.run_id, _MONITORING)).read_text()
        )
        return (
            [Spread(**each) for each in told["spreads"]],
            [Point(**each) for each in told["curves"]],
        )

    def _use(self) -> None:
        """Have MLflow's own functions mean this registry: they know one of a process."""
        self._mlflow.set_tracking_uri(self.address)
        self._mlflow.set_registry_uri(self.address)

    def _experiment(self, name: str) -> str:
        found = self._client.get_experiment_by_name(name)
        if found:
            return found.experiment_id
        place = (self.folder / "artifacts" / name).as_uri()
        return self._client.create_experiment(name, artifact_location=place)

    def _champion(self, name: str) -> int | None:
        from mlflow.exceptions import MlflowException

        try:
            return int(self._client.get_model_version_by_alias(name, CHAMPION).version)
        except MlflowException:
            return None

    def _read(
        self, made: mlflow.entities.model_registry.ModelVersion, champion: int | None
    ) -> Version:
        run = self._client.get_run(made.run_id)
        parameters = {name: _number(text) for name, text in run.data.params.items()}
        return Version(
            name=made.name,
            number=int(made.version),
            run_id=made.run_id,
            is_champion=int(made.version) == champion,
            trained_at=datetime.fromtimestamp(run.info.start_time / 1000, UTC),
            learned_until=datetime.fromisoformat(run.data.tags["learned_until"]),
            seed=parameters.pop("seed"),
            parameters=parameters,
            tables=json.loads(run.data.tags["tables"]),
            code=run.data.tags["code"],
            figures=dict(run.data.metrics),
        )


def _number(text: str) -> int | float:
    return float(text) if any(sign in text for sign in ".en") else int(text)


@cache
def code_version() -> str:
    """A digest of what decides what a training gives: this package and the library."""
    import sklearn

    digest = hashlib.sha256(sklearn.__version__.encode())
    for path in sorted(_HERE.rglob("*")):
        if path.suffix in (".py", ".sql", ".yml"):
            digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:12]
