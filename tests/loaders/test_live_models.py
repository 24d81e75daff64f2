"""From dbt's manifest to streaming queries, without Spark."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from loaders.live import live_models
from loaders.session import ConfigurationError

INPUT = (
    "(select * from {relation} /* stream */ where {where})\n"
    "    /* watermark ts delay of interval 30 seconds */ as events"
)
# With the id of the message eleven.
TEN = {f"a{number}": "" for number in range(10)}


def a_source(name: str) -> dict[str, Any]:
    return {"name": name, "resource_type": "source", "relation_name": f"bronze.{name}"}


def a_model(name: str, sql: str, **config: Any) -> dict[str, Any]:
    return {
        "name": name,
        "resource_type": "model",
        "schema": "gold",
        "alias": name,
        "relation_name": f"gold.{name}",
        "description": "",
        "compiled_code": sql,
        "columns": {
            column: {"name": column, "data_type": data_type, "description": ""}
            for column, data_type in {"w": "timestamp", "k": "string", "n": "bigint"}.items()
        },
        "config": {"materialized": "stream", "unique_key": ["w", "k"], "prune_by": "w"} | config,
        "depends_on": {"nodes": []},
    }


def a_manifest(*models: dict[str, Any], sources: tuple[str, ...] = ("Events",)) -> dict[str, Any]:
    return {
        "nodes": {f"model.{model['name']}": model for model in models},
        "sources": {f"source.{name}": a_source(name) for name in sources},
    }


def over(relation: str, where: str = "true") -> str:
    return f"select w, k, n from {INPUT.format(relation=relation, where=where)}"


def one_line(sql: str) -> str:
    return " ".join(sql.split())


def refusal(*models: dict[str, Any]) -> str:
    with pytest.raises(ConfigurationError) as refused:
        live_models(a_manifest(*models))
    message = str(refused.value)
    assert "\n" not in message
    return message


def test_an_input_becomes_a_stream_with_a_watermark_and_read_options() -> None:
    (model,) = live_models(a_manifest(a_model("m", over("bronze.Events", "f(a) > (1)"))))
    assert one_line(model.streaming_sql({"bronze.Events": {"startingVersion": "3"}})) == (
        "select w, k, n from (select * from stream(bronze.Events) with (startingVersion = '3') "
        "where f(a) > (1)) watermark ts delay of interval 30 seconds as events"
    )
    (read,) = model.inputs
    assert (read.table, read.event_time) == ("bronze.Events", "ts")
    assert read.query == "(select * from bronze.Events where f(a) > (1))"


def test_two_inputs_are_two_streams() -> None:
    sql = f"{over('bronze.Events')} join {INPUT.format(relation='bronze.other', where='true')}"
    (model,) = live_models(a_manifest(a_model("m", sql), sources=("Events", "other")))
    assert [each.table for each in model.inputs] == ["bronze.Events", "bronze.other"]
    assert "stream(bronze.Events)" in model.sql
    assert "stream(bronze.other)" in model.sql


def test_a_view_is_read_by_its_query_down_to_the_source() -> None:
    inner = a_model("inner", "select *, '{}' as e from bronze.events", materialized="view")
    inner["depends_on"]["nodes"] = ["source.Events"]
    outer = a_model("outer", "select * from gold.inner -- last", materialized="view")
    outer["depends_on"]["nodes"] = ["model.inner"]
    (model,) = live_models(a_manifest(a_model("m", over("gold.outer")), inner, outer))
    assert model.inputs[0].table == "bronze.Events"
    assert one_line(model.streaming_sql({})) == (
        "select w, k, n from (select * from ( select * from ( select *, '{}' as e from "
        "stream(bronze.Events) ) -- last ) where true) "
        "watermark ts delay of interval 30 seconds as events"
    )


def test_a_fingerprint_ignores_comments_and_space_and_nothing_else() -> None:
    def fingerprint(sql: str, **config: Any) -> str:
        (model,) = live_models(a_manifest(a_model("m", sql, **config)))
        return model.fingerprint

    sql = over("bronze.Events")
    same = f"-- why\n{sql.replace(' w,', '  w,  /* the key */ ')}\n"
    assert fingerprint(sql) == fingerprint(same) == fingerprint(sql, start="latest")
    quoted = over("bronze.Events", "a = '--x'")
    different = {
        fingerprint(sql),
        fingerprint(quoted),
        fingerprint(quoted.replace("--x", "--y")),
        fingerprint(sql, unique_key=["w"]),
        fingerprint(sql, output_mode="append"),
    }
    assert len(different) == 5


def test_dbts_words_for_the_same_thing_are_understood() -> None:
    single = a_model("m", over("bronze.Events"), unique_key="w", prune_by=["w"], clustered_by="w")
    (model,) = live_models(a_manifest(single))
    assert (model.unique_key, model.prune_by, model.clustered_by) == (("w",), "w", ("w",))


def test_other_models_are_left_out() -> None:
    other = a_model("other", "select 1", materialized="incremental")
    assert live_models(a_manifest(other)) == []


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"unique_key": None}, "m: unique_key: Field required"),
        ({"prune_by": "n"}, "m: prune_by: n is not one of unique_key"),
        ({"unique_key": ["w", "x"]}, "m: unique_key: no column x"),
        ({"start": "yesterday"}, "m: start: "),
        ({"output_mode": "complete"}, "m: output_mode: "),
        ({"trigger_seconds": -1}, "m: trigger_seconds: "),
        ({"sink": {"sqs": {}}}, "m: sink: sqs"),
        ({"sink": {"sns": {"topic": "t"}}}, "m: sink: sns.idempotency_key: Field required"),
        (
            {"sink": {"sns": {"topic": "t", "idempotency_key": ["w"], "message": "{nope}"}}},
            "m: sink.sns names {nope}, which is no column of the model; there are k, n, w",
        ),
        (
            {"sink": {"sns": {"topic": "t", "idempotency_key": ["w"], "incident": {"by": ["k"]}}}},
            "m: sink: sns.incident: names 'k', which is none of the attributes",
        ),
        (
            {
                "sink": {
                    "sns": {
                        "topic": "t",
                        "idempotency_key": ["w"],
                        "attributes": dict.fromkeys(list(TEN)[:9], ""),
                        "incident": {"by": []},
                    }
                }
            },
            "m: sink: sns.incident: needs one of the 9 attributes, renotified",
        ),
        (
            {"sink": {"sns": {"idempotency_key": ["w"], "topic": "t", "attributes": TEN}}},
            "m: sink: sns.attributes: Dictionary should have at most 9 items",
        ),
    ],
)
def test_a_wrong_setting_is_named_with_its_model(config: dict[str, Any], said: str) -> None:
    assert refusal(a_model("m", over("bronze.Events"), **config)).startswith(said)


def test_what_cannot_be_read_as_a_stream_is_named() -> None:
    assert "reads none" in refusal(a_model("m", "select 1"))
    merged = a_model("merged", "select 1", materialized="incremental")
    assert "merged cannot be read as a stream, because dbt updates" in refusal(
        a_model("m", over("gold.merged")), merged
    )
    joined = a_model("joined", "select 1", materialized="view")
    joined["depends_on"]["nodes"] = ["source.Events", "model.merged"]
    assert "it reads 2 tables, and may read one" in refusal(
        a_model("m", over("gold.joined")), merged, joined
    )
    assert "is no source and no model" in refusal(a_model("m", over("gold.unknown")))
    uncompiled = copy.deepcopy(a_model("m", ""))
    assert "m is not compiled in this manifest: run `dbt compile`" in refusal(uncompiled)


def test_a_sink_without_a_topic_is_none() -> None:
    sink = {"sns": {"topic": "", "idempotency_key": ["w"]}}
    (model,) = live_models(a_manifest(a_model("m", over("bronze.Events"), sink=sink)))
    assert model.sink is None
