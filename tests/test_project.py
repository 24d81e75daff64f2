"""The rules of the dbt project, held on its manifest. No Spark is needed."""

from __future__ import annotations

import csv
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

PROJECT_ROOT = Path(__file__).resolve().parent.parent
LOADERS_SOURCE = "bronze_loaders"
# Sources that no feed fills.
NO_FEEDS = (LOADERS_SOURCE, "bronze_ml")

# Models with a window, join or case, or a filter of what is new, that need no unit test, each with
# its reason.
GENERATED = "scripts/game_contracts.py writes it like game_client_error and game_level_end"
NO_UNIT_TEST = {
    path.stem: GENERATED
    for path in (PROJECT_ROOT / "models" / "silver" / "games" / "events").glob("*.sql")
    if path.stem not in ("game_client_error", "game_level_end")
}


@pytest.fixture(scope="module")
def manifest(root: Path) -> Any:
    from dbt.cli.main import dbtRunner

    outcome = dbtRunner().invoke(["parse", "--project-dir", str(PROJECT_ROOT), "--quiet"])
    assert outcome.success, outcome.exception
    return outcome.result


@pytest.fixture(scope="module")
def models(manifest: Any) -> list[Any]:
    found = nodes(manifest, "model")
    assert found, "the project has no model"
    return found


@pytest.fixture(scope="module")
def incremental(models: list[Any]) -> list[Any]:
    """The models that are merged, by dbt or by the engine."""
    return [model for model in models if model.config.materialized in ("incremental", "stream")]


def nodes(manifest: Any, kind: str) -> list[Any]:
    return [node for node in manifest.nodes.values() if node.resource_type == kind]


def as_list(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value or [])


def arguments_of(manifest: Any, node: Any, name: str) -> list[dict[str, Any]]:
    """Arguments of a node's generic tests of one name."""
    return [
        test.test_metadata.kwargs
        for test in nodes(manifest, "test")
        if getattr(test, "attached_node", None) == node.unique_id
        and test.test_metadata.name == name
    ]


def without_comments(sql: str) -> str:
    sql = re.sub(r"\{#.*?#\}", " ", sql, flags=re.DOTALL)
    return re.sub(r"--[^\n]*", " ", sql).lower()


def with_macros(manifest: Any, sql: str) -> str:
    """A model's code and that of our macros that it calls, and so on; without comments."""
    project = manifest.metadata.project_name
    macros = {
        macro.name: without_comments(macro.macro_sql)
        for macro in manifest.macros.values()
        if macro.package_name == project
    }
    parts = {"": without_comments(sql)}
    waiting = [""]
    while waiting:
        called = set(re.findall(r"\b(\w+)\(", parts[waiting.pop()])) & macros.keys()
        waiting += called - parts.keys()
        parts |= {name: macros[name] for name in called}
    return "\n".join(parts.values())


def test_aliases_are_unique_in_any_case(manifest: Any) -> None:
    """Models share one namespace of temporary views (tests/adapter/test_duplicate_alias.py)."""
    built = nodes(manifest, "model") + nodes(manifest, "seed")
    counts = Counter(node.alias.lower() for node in built)
    assert [alias for alias, count in counts.items() if count > 1] == []


def test_models_stand_in_the_schema_of_their_folder(models: list[Any]) -> None:
    wrong = {
        model.name: model.schema
        for model in models
        if model.schema != Path(model.original_file_path).parts[1].replace("live", "gold")
    }
    assert wrong == {}


def test_a_grain_is_its_unique_key_and_its_key_test(manifest: Any, incremental: list[Any]) -> None:
    wrong = {}
    for model in incremental:
        grain = as_list(model.config.meta.get("grain"))
        tested = [
            test["combination_of_columns"]
            for test in arguments_of(manifest, model, "unique_combination_of_columns")
        ]
        if not grain or [grain] != tested or grain != as_list(model.config.unique_key):
            wrong[model.name] = {
                "meta.grain": grain,
                "unique_key": model.config.unique_key,
                "unique_combination_of_columns": tested,
            }
    assert wrong == {}


def test_key_columns_are_tested_not_null(manifest: Any, incremental: list[Any]) -> None:
    """MERGE inserts a NULL key anew in each run (tests/adapter/test_null_keys.py)."""
    missing = {}
    for model in incremental:
        tested = {test["column_name"] for test in arguments_of(manifest, model, "not_null")}
        for test in arguments_of(manifest, model, "unique_combination_of_columns"):
            tested |= set(test["combination_of_columns"] if test.get("not_null") else ())
        untested = set(as_list(model.config.unique_key)) - tested
        if untested:
            missing[model.name] = untested
    assert missing == {}


def test_every_merge_is_pruned_by_columns_of_its_key(incremental: list[Any]) -> None:
    wrong = {}
    for model in incremental:
        prune_by = as_list(model.config.get("prune_by"))
        exempt = model.config.meta.get("prune_exempt")
        if not set(prune_by) <= set(as_list(model.config.unique_key)) or bool(prune_by) == bool(
            exempt
        ):
            wrong[model.name] = {"prune_by": prune_by, "meta.prune_exempt": exempt}
    assert wrong == {}, "prune_by: columns of the key; none only with a reason in meta.prune_exempt"


def test_models_that_rewrite_units_are_pruned_by_them(incremental: list[Any]) -> None:
    """macros/incremental/changes_sql.sql reads the target within the batch's units."""
    wrong = {}
    for model in incremental:
        unit = set(as_list(model.config.get("rewrites")))
        pruned_by = set(as_list(model.config.get("prune_by")))
        is_pruned = pruned_by and pruned_by <= unit <= set(as_list(model.config.unique_key))
        if unit and not (is_pruned and "_batch_id" in model.columns):
            wrong[model.name] = {"rewrites": unit, "prune_by": model.config.get("prune_by")}
    assert wrong == {}


def test_incremental_models_are_clustered_delta_tables_merged_by_key(
    incremental: list[Any],
) -> None:
    wrong = {}
    for model in incremental:
        config = model.config
        settings = (config.get("file_format"), config.incremental_strategy)
        if (
            settings != ("delta", "merge")
            or not 1 <= len(as_list(config.get("clustered_by"))) <= 4
            or config.on_schema_change not in {"append_new_columns", "fail"}
        ):
            wrong[model.name] = (*settings, config.get("clustered_by"), config.on_schema_change)
    assert wrong == {}


def test_models_seeds_and_their_columns_are_described(manifest: Any) -> None:
    missing = []
    for node in nodes(manifest, "model") + nodes(manifest, "seed"):
        if not node.description.strip():
            missing.append(node.name)
        if not node.columns:
            missing.append(f"{node.name}: no columns")
        missing += [
            f"{node.name}.{column.name}"
            for column in node.columns.values()
            if not column.description.strip()
        ]
    assert missing == []


def test_comments_of_views_fit_into_a_hive_metastore(models: list[Any]) -> None:
    """It keeps 256 characters a column; a longer one it refuses, by default for 20 s each time."""
    too_long = {
        f"{model.name}.{column.name}": len(column.description)
        for model in models
        if model.config.materialized == "view"
        for column in model.columns.values()
        if len(column.description) > 256
    }
    assert too_long == {}


def test_gold_has_contracts_that_name_every_type(models: list[Any]) -> None:
    wrong = [
        model.name
        for model in models
        if model.schema == "gold"
        and not (
            model.config.contract.enforced
            and all(column.data_type for column in model.columns.values())
        )
    ]
    assert wrong == []


def test_contracts_declare_no_constraints(models: list[Any]) -> None:
    """They would bite after the rows are in the table (tests/adapter/test_constraints.py)."""
    declared = [model.name for model in models if model.constraints]
    declared += [
        f"{model.name}.{column.name}"
        for model in models
        for column in model.columns.values()
        if column.constraints
    ]
    assert declared == []


def test_windows_joins_and_cases_have_unit_tests(manifest: Any, models: list[Any]) -> None:
    tested = {test.model for test in manifest.unit_tests.values()}
    # `join(` is Jinja's
    shapes = re.compile(r"\bover\s*\(|\bjoin\b(?!\()|\bcase\b|\bqualify\b")
    untested = {
        model.name for model in models if shapes.search(with_macros(manifest, model.raw_code))
    } - tested
    assert untested == NO_UNIT_TEST.keys()


def test_incremental_filters_have_unit_tests_of_both_branches(
    manifest: Any, incremental: list[Any]
) -> None:
    missing = {}
    for model in incremental:
        code = with_macros(manifest, model.raw_code)
        if model.name in NO_UNIT_TEST or not re.search(r"\bis_(?:new|incremental)\(", code):
            continue
        branches = {
            bool(test.overrides and test.overrides.macros.get("is_incremental"))
            for test in manifest.unit_tests.values()
            if test.model == model.name
        }
        if branches != {True, False}:
            missing[model.name] = f"unit tests with is_incremental {branches or 'nowhere'}"
    assert missing == {}


def test_macros_and_their_arguments_are_described(manifest: Any) -> None:
    wrong = {}
    for macro in manifest.macros.values():
        if macro.package_name != manifest.metadata.project_name:
            continue
        head = re.search(
            r"\{%-?\s*(?:macro|test)\s+\w+\((.*?)\)\s*-?%\}", macro.macro_sql, re.DOTALL
        )
        names = re.findall(r"(\w+)\s*(?:=[^,]*)?(?:,|$)", head[1].strip()) if head else []
        documented = [argument.name for argument in macro.arguments]
        undescribed = [
            argument.name
            for argument in macro.arguments
            if not (argument.type and argument.description)
        ]
        if not macro.description.strip() or documented != names or undescribed:
            wrong[macro.name] = {"takes": names, "documented": documented}
    assert wrong == {}


def test_one_macro_a_file_named_like_it(manifest: Any) -> None:
    ours = [
        macro
        for macro in manifest.macros.values()
        if macro.package_name == manifest.metadata.project_name
    ]
    names = {macro.name: Path(macro.original_file_path).stem for macro in ours}
    assert {
        name: file
        for name, file in names.items()
        if re.sub(r"^test_|^materialization_(?=incremental_)|_spark$", "", name) != file
        and name != file
    } == {}


def test_sources_say_what_they_are(manifest: Any) -> None:
    wrong = []
    for source in manifest.sources.values():
        meta = source.config.meta
        columns = set(source.columns)
        if not (source.source_description.strip() and source.description.strip()):
            wrong.append(f"{source.name}: description")
        wrong += [
            f"{source.name}.{column.name}: description, data_type"
            for column in source.columns.values()
            if not (column.description.strip() and column.data_type)
        ]
        wrong += [
            f"{source.name}: meta.{key}"
            for key in ("grain", "clustered_by")
            if not meta.get(key) or not set(meta[key]) <= columns
        ]
    assert wrong == []


def test_every_key_of_meta_is_one_that_is_read(manifest: Any) -> None:
    """dbt takes any: a retention under another name would keep everything, without a word."""
    known = {
        "source": {"grain", "clustered_by", "retention", "feed"},
        "model": {"grain", "prune_exempt", "event", "retention"},
        "seed": {"grain", "retention"},
    }
    declared = [*manifest.sources.values(), *nodes(manifest, "model"), *nodes(manifest, "seed")]
    unknown = {
        node.name: set(node.config.meta) - known[node.resource_type] for node in declared
    } | {
        f"{node.name}.{column.name}": set(column.config.meta) - {"extracted_by"}
        for node in declared
        for column in node.columns.values()
    }
    assert {name: keys for name, keys in unknown.items() if keys} == {}


def test_what_may_hold_addresses_of_viewers_is_kept_for_days(manifest: Any) -> None:
    kept = {
        source.identifier: source.config.meta["retention"]["days"]
        for source in manifest.sources.values()
        if "retention" in source.config.meta
    }
    assert kept == {"cdn_logs": 3, "quarantine": 30}, "docs/privacy.md promises these"


def test_bronze_is_kept_by_the_time_of_the_batch(manifest: Any) -> None:
    """So that a batch expires as a whole, which the tests on the ledger rely on."""
    by = {
        source.identifier: source.config.meta["retention"]["column"]
        for source in manifest.sources.values()
        if source.schema == "bronze" and "retention" in source.config.meta
    }
    assert {
        table: column
        for table, column in by.items()
        if column != ("ingested_at" if table == "quarantine" else "_ingested_at")
    } == {}


def test_every_feed_has_a_source_of_its_name_in_snake_case(manifest: Any) -> None:
    """So the tests on the ledger cover a new feed by themselves (macros/bronze/bronze_feeds)."""
    from loaders.destinations import destination_of
    from loaders.feeds import read_feeds

    declared = {
        source.identifier: source.config.meta.get("feed")
        or re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", source.identifier).lower()
        for source in manifest.sources.values()
        if source.source_name not in NO_FEEDS and source.schema == "bronze"
    }
    written = {
        table: name for name, feed in read_feeds().items() for table in destination_of(feed).tables
    }
    assert written == declared


def test_bronze_sources_have_the_columns_that_the_loaders_write(manifest: Any) -> None:
    from loaders import bronze, outbox
    from loaders.destinations import destination_of
    from loaders.feeds import read_feeds
    from loaders.kinds import kind_of
    from loaders.ml.definitions import definitions
    from loaders.ml.tables import OF_ALL_MODELS, scores_columns, scores_table

    def columns(ddl: str) -> dict[str, str]:
        return dict(part.split() for part in ddl.split(","))

    written = {
        "ledger": columns(bronze.LEDGER_COLUMNS),
        "quarantine": columns(bronze.QUARANTINE_COLUMNS),
        "outbox": columns(outbox.OUTBOX_COLUMNS),
        "deliveries": columns(outbox.DELIVERIES_COLUMNS),
        **{table: columns(ddl) for table, ddl in OF_ALL_MODELS.items()},
        **{
            scores_table(each).removeprefix("bronze."): columns(scores_columns(each))
            for each in definitions().values()
        },
    }
    extracted = {}
    for feed in read_feeds().values():
        kind = kind_of(feed.source, allow_overwrites=False)
        layout = feed.layout
        for table in destination_of(feed).tables:
            extracted |= {(table, name): each[1] for name, each in layout.extracted.items()}
            written[table] = {
                **{name: each[0] for name, each in layout.extracted.items()},
                layout.record_column: "string",
                **columns(kind.provenance),
            }
    for source in manifest.sources.values():
        if source.schema != "bronze":
            continue
        declared = {column.name: column.data_type for column in source.columns.values()}
        assert list(declared.items()) == list(written[source.identifier].items()), source.identifier
        for column in source.columns.values():
            expression = extracted.get((source.identifier, column.name))
            assert column.config.meta.get("extracted_by") == expression, column.name


def test_bronze_sources_are_clustered_as_the_loaders_create_them(manifest: Any) -> None:
    from loaders.destinations import destination_of
    from loaders.feeds import read_feeds

    declared = {
        source.identifier: source.config.meta["clustered_by"]
        for source in manifest.sources.values()
        if source.schema == "bronze" and source.source_name not in NO_FEEDS
    }
    created = {
        table: feed.clustered_by
        for feed in read_feeds().values()
        for table in destination_of(feed).tables
    }
    assert created == declared


def test_seeds_are_typed_and_keep_to_what_session_mode_loads_right(manifest: Any) -> None:
    """See tests/adapter/test_seeds.py."""
    wrong = []
    for seed in nodes(manifest, "seed"):
        text = (PROJECT_ROOT / seed.original_file_path).read_text()
        header, *rows = csv.reader(text.splitlines())
        if set(seed.config.column_types) != set(header):
            wrong.append(f"{seed.name}: column_types {sorted(seed.config.column_types)}")
        if not text.isascii() or "'" in text:
            wrong.append(f"{seed.name}: apostrophe, or not ASCII")
        wrong += [f"{seed.name}: empty value in {row}" for row in rows if "" in row]
    assert wrong == []


def test_rules_are_explained_by_rules_of_their_domain_and_never_by_each_other() -> None:
    """Of two that explain each other nobody would be told."""
    with (PROJECT_ROOT / "seeds" / "alert_rules.csv").open() as file:
        rules = list(csv.DictReader(file))
    causes = {
        (rule["domain"], rule["rule"]): {
            (rule["domain"], cause) for cause in rule["explained_by"].split() if cause != "none"
        }
        for rule in rules
    }
    unknown = {rule: some - causes.keys() for rule, some in causes.items() if some - causes.keys()}
    assert unknown == {}
    mutual = {
        (rule, cause) for rule, some in causes.items() for cause in some if rule in causes[cause]
    }
    assert mutual == set()


def test_exposures_rest_on_tables_and_say_who_looks(manifest: Any) -> None:
    wrong = [
        exposure.name
        for exposure in manifest.exposures.values()
        if not exposure.depends_on.nodes
        or not set(exposure.depends_on.nodes) <= manifest.nodes.keys() | manifest.sources.keys()
        or not exposure.description.strip()
        or not (exposure.owner.name or exposure.owner.email)
    ]
    assert wrong == []


def test_exposures_of_the_dashboard_are_its_panels_and_what_their_sql_reads(manifest: Any) -> None:
    from dashboard.panels import PANELS

    def name_of(unique_id: str) -> str:
        table = manifest.nodes.get(unique_id) or manifest.sources[unique_id]
        return f"{table.schema}.{table.name}"

    declared = {
        exposure.name.removeprefix("dashboard_"): {
            name_of(unique_id) for unique_id in exposure.depends_on.nodes
        }
        for exposure in manifest.exposures.values()
        if exposure.type == "dashboard"
    }
    assert declared == {name: panel.tables for name, panel in PANELS.items()}


def test_the_dashboard_reads_tables_and_no_views(manifest: Any, models: list[Any]) -> None:
    """A view stands in Spark's metastore alone."""
    from dashboard.panels import PANELS

    views = {
        f"{model.schema}.{model.name}" for model in models if model.config.materialized == "view"
    }
    assert {name: panel.tables & views for name, panel in PANELS.items()} == {
        name: set() for name in PANELS
    }


def test_folders_of_yaml_hold_no_key_twice() -> None:
    """YAML takes the last of two equal keys in silence."""

    class Strict(yaml.SafeLoader):
        pass

    def mapping(loader: Strict, node: yaml.MappingNode) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        repeated = [key for key, count in Counter(map(str, keys)).items() if count > 1]
        assert repeated == [], f"{node.start_mark}: {repeated}"
        loader.flatten_mapping(node)
        return loader.construct_mapping(node, deep=True)

    Strict.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, mapping)
    for folder in ("models", "macros", "seeds"):
        for path in sorted((PROJECT_ROOT / folder).rglob("*.yml")):
            yaml.load(path.read_text(), Strict)
