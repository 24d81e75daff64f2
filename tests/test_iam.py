"""docs/iam.md allows what the loaders call in AWS, and nothing else."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import botocore.session
import pytest
from botocore import xform_name

PROJECT_ROOT = Path(__file__).resolve().parent.parent
SERVICES = ("firehose", "kinesis", "kms", "s3", "sesv2", "sns", "sqs", "sts")
# Where the action is not called like the operation, or is not the only one.
ACTIONS = {
    "s3:copy": {"s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload"},
    "s3:get_bucket_notification_configuration": {"s3:GetBucketNotification"},
    "s3:get_object": {"s3:GetObject", "s3:GetObjectVersion"},
    "s3:head_bucket": {"s3:ListBucket"},
    "s3:head_object": {"s3:GetObject"},
    "s3:list_object_versions": {"s3:ListBucketVersions"},
    "s3:list_objects_v2": {"s3:ListBucket"},
    "s3:put_bucket_notification_configuration": {"s3:PutBucketNotification"},
    # of a template SES asks for the older name
    "sesv2:send_email": {"ses:SendEmail", "ses:SendTemplatedEmail"},
    "sns:create_topic": {"sns:CreateTopic", "sns:TagResource"},  # made with tags
    "sqs:change_message_visibility_batch": {"sqs:ChangeMessageVisibility"},
    "sqs:create_queue": {"sqs:CreateQueue", "sqs:TagQueue"},
    "sqs:delete_message_batch": {"sqs:DeleteMessage"},
    "sts:get_caller_identity": set(),  # always allowed
}


@pytest.fixture(scope="module")
def operations() -> dict[str, dict[str, str]]:
    """Service → method of its client → name of the operation."""
    session = botocore.session.get_session()
    return {
        service: {
            xform_name(name): name for name in session.get_service_model(service).operation_names
        }
        | ({"copy": "CopyObject"} if service == "s3" else {})
        for service in SERVICES
    }


@pytest.fixture(scope="module")
def policies() -> dict[str, set[str]]:
    """Heading in docs/iam.md → the actions that its policy allows."""
    text = (PROJECT_ROOT / "docs" / "iam.md").read_text()
    found = {}
    for section in text.split("\n## ")[1:]:
        (policy,) = re.findall(r"```json\n(.*?)```", section, re.DOTALL)
        statements = json.loads(policy)["Statement"]
        assert {statement["Effect"] for statement in statements} == {"Allow"}
        actions = [statement["Action"] for statement in statements]
        found[section.partition("\n")[0]] = {
            action
            for listed in actions
            for action in ([listed] if isinstance(listed, str) else listed)
        }
    return found


def calls(source: str, operations: dict[str, dict[str, str]]) -> Iterator[str]:
    """`service:method` of every call to a client of AWS, also through a paginator."""
    for node in ast.walk(ast.parse(source)):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        method, receiver = node.func.attr, ast.unparse(node.func.value)
        if method == "get_paginator":
            method = ast.literal_eval(node.args[0])
        services = [service for service in SERVICES if method in operations[service]]
        named = [service for service in services if service in receiver]
        if named or (len(services) == 1 and method != "copy"):
            yield f"{(named or services)[0]}:{method}"
        else:
            assert not services or method == "copy", f"whose is {receiver}.{method}?"


def actions(paths: list[Path], operations: dict[str, dict[str, str]]) -> set[str]:
    found: set[str] = set()
    for call in {call for path in paths for call in calls(path.read_text(), operations)}:
        service, method = call.split(":")
        found |= ACTIONS.get(call, {f"{service}:{operations[service][method]}"})
    return found


def test_every_call_is_told_with_its_service(operations: dict[str, dict[str, str]]) -> None:
    source = (
        "self._s3.get_paginator('list_objects_v2')\n"
        "client('s3', settings).copy(a)\n"
        "a_dict.copy()\n"
        "self._sqs.receive_message(QueueUrl=url)\n"
        "self._sns.list_tags_for_resource(ResourceArn=arn)\n"
        "boto.get_records(Limit=1)\n"
    )
    assert set(calls(source, operations)) == {
        "kinesis:get_records",
        "s3:copy",
        "s3:list_objects_v2",
        "sns:list_tags_for_resource",
        "sqs:receive_message",
    }


def test_policies_allow_what_is_called_and_nothing_else(
    policies: dict[str, set[str]], operations: dict[str, dict[str, str]]
) -> None:
    loaders = PROJECT_ROOT / "loaders"
    set_up = [loaders / "queues.py", loaders / "subscribed_queue.py"]
    ingest = [path for folder in ("ingest", "vault") for path in (loaders / folder).rglob("*.py")]
    alerts = [*(loaders / "alerts").rglob("*.py")]
    erasure = [loaders / "sources" / "rewriting.py"]
    others = {*loaders.rglob("*.py")} - {*set_up, *ingest, *alerts, *erasure}
    assert policies["Queue set-up"] == actions(set_up, operations)
    assert policies["Ingest service"] == actions(ingest, operations)
    # It deletes versions by their ids; and S3 tells who may not list that an object is forbidden
    # which is gone.
    by_id = {"s3:DeleteObject"} ^ {"s3:DeleteObjectVersion"}
    assert policies["Erasure"] == (actions(erasure, operations) ^ by_id) | {"s3:ListBucket"}
    loading = policies["Loader"] | policies["Clean-up"] | policies["Schemas in a bucket"]
    called = actions(others, operations)
    assert loading == called - policies["Publisher"]


def test_policies_of_alerts_allow_what_is_called_and_nothing_else(
    policies: dict[str, set[str]], operations: dict[str, dict[str, str]]
) -> None:
    folder = PROJECT_ROOT / "loaders" / "alerts"

    def called(*names: str) -> set[str]:
        return actions([folder / name for name in names], operations)

    queues = actions([PROJECT_ROOT / "loaders" / "subscribed_queue.py"], operations)
    assert policies["Alert queue set-up"] == called("queue.py") | queues
    assert policies["Alert consumer"] == called("follow.py")
    assert policies["Alert e-mail"] == called("email.py")
    assert policies["Remediation"] == called("weights.py") - {"s3:GetObjectVersion"}  # names none
    told = {"queue.py", "follow.py", "email.py", "weights.py"}
    assert called(*({path.name for path in folder.glob("*.py")} - told)) == set()


def test_who_loads_the_lake_may_ask_kms_for_no_key_of_a_player(
    policies: dict[str, set[str]],
) -> None:
    with_kms = {part for part, allowed in policies.items() for a in allowed if a.startswith("kms:")}
    assert with_kms == {"Ingest service"}


def test_a_loader_that_cleans_nothing_up_may_only_read(policies: dict[str, set[str]]) -> None:
    writes = {"s3:AbortMultipartUpload", "s3:DeleteObject", "s3:PutObject"}
    assert policies["Clean-up"] - policies["Loader"] == writes
    assert not policies["Loader"] & writes


def test_no_policy_has_a_wildcard_for_an_action(policies: dict[str, set[str]]) -> None:
    assert [action for allowed in policies.values() for action in allowed if "*" in action] == []
