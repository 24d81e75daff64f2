"""Notifications: every shape in which an object event reaches a queue."""

import json
import string
from datetime import UTC, datetime
from urllib.parse import quote_plus

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loaders.sources.s3_events import Notification, ObjectRef, parse_notification, sequencer_key

UNTIMED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
KEY = "in/a b+c/ü=1.json"
ENCODED_KEY = "in/a+b%2Bc/%C3%BC%3D1.json"
AT = datetime(2026, 11, 22, 22, 39, 47, 725000, UTC)


def s3_record(**changes):
    """An entry of Records as S3 documents it; `object__key=…` changes s3.object.key."""
    record = {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": "us-west-2",
        "eventTime": "2026-11-22T22:39:47.725Z",
        "eventName": "ObjectCreated:Put",
        "userIdentity": {"principalId": "EXAMPLE"},
        "requestParameters": {"sourceIPAddress": "192.0.2.1"},
        "responseElements": {"x-amz-request-id": "EXAMPLE", "x-amz-id-2": "EXAMPLE"},
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": "example",
            "bucket": {
                "name": "amzn-s3-demo-bucket",
                "ownerIdentity": {"principalId": "EXAMPLE"},
                "arn": "arn:aws:s3:::amzn-s3-demo-bucket",
            },
            "object": {
                "key": ENCODED_KEY,
                "size": 1024,
                "eTag": "d41d8cd98f00b204e9800998ecf8427e",
                "sequencer": "0055AED6DCD90281E5",
            },
        },
    }
    return changed(record, {"s3": record["s3"], "object": record["s3"]["object"]}, changes)


def bridge_event(**changes):
    """An EventBridge event as S3 documents it; `object__key=…` changes detail.object.key."""
    event = {
        "version": "0",
        "id": "11111111-2222-3333-4444-555555555555",
        "detail-type": "Object Created",
        "source": "aws.s3",
        "account": "111122223333",
        "time": "2026-11-22T22:39:47Z",
        "region": "us-west-2",
        "resources": ["arn:aws:s3:::amzn-s3-demo-bucket"],
        "detail": {
            "version": "0",
            "bucket": {"name": "amzn-s3-demo-bucket"},
            "object": {
                "key": KEY,
                "size": 1024,
                "etag": "d41d8cd98f00b204e9800998ecf8427e",
                "version-id": "EXAMPLEversion",
                "sequencer": "0055AED6DCD90281E5",
            },
            "request-id": "EXAMPLE",
            "requester": "111122223333",
            "source-ip-address": "192.0.2.1",
            "reason": "PutObject",
        },
    }
    detail = event["detail"]
    return changed(event, {"detail": detail, "object": detail["object"]}, changes)


REMOVE = object()


def changed(whole, parts, changes):
    for path, value in changes.items():
        part, _, name = path.rpartition("__")
        target = parts[part] if part else whole
        name = name.replace("_", "-") if name not in target else name
        if value is REMOVE:
            del target[name]
        else:
            target[name] = value
    return whole


def records(*items):
    return json.dumps({"Records": list(items)})


def sns(message, **changes):
    envelope = {
        "Type": "Notification",
        "MessageId": "11111111-2222-3333-4444-555555555555",
        "TopicArn": "arn:aws:sns:us-west-2:111122223333:example",
        "Subject": "Amazon S3 Notification",
        "Message": message,
        "Timestamp": "2026-11-22T22:39:49.000Z",
        "SignatureVersion": "1",
        "Signature": "EXAMPLE",
        "SigningCertURL": "https://sns.us-west-2.amazonaws.com/example.pem",
        "UnsubscribeURL": "https://sns.us-west-2.amazonaws.com/?Action=Unsubscribe",
    }
    return json.dumps(envelope | changes)


CREATED = ObjectRef(
    bucket="amzn-s3-demo-bucket",
    key=KEY,
    version=None,
    etag="d41d8cd98f00b204e9800998ecf8427e",
    size=1024,
    event_time=AT,
    sequencer="0055AED6DCD90281E5",
    event_name="ObjectCreated:Put",
)
BRIDGED = ObjectRef(
    bucket="amzn-s3-demo-bucket",
    key=KEY,
    version="EXAMPLEversion",
    etag="d41d8cd98f00b204e9800998ecf8427e",
    size=1024,
    event_time=AT.replace(microsecond=0),
    sequencer="0055AED6DCD90281E5",
    event_name="Object Created",
)


@pytest.mark.parametrize("as_bytes", [False, True])
@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (records(s3_record()), CREATED),
        (sns(records(s3_record())), CREATED),
        (json.dumps(bridge_event()), BRIDGED),
        (sns(json.dumps(bridge_event())), BRIDGED),
    ],
    ids=["bare", "sns", "eventbridge", "eventbridge through sns"],
)
def test_one_object_in_every_shape(body, expected, as_bytes):
    assert parse_notification(body.encode() if as_bytes else body) == Notification([expected])


def test_every_record_of_a_list_counts_in_its_order():
    body = records(
        s3_record(object__key="a", object__versionId="v1"),
        s3_record(object__key="b", eventName="ObjectRemoved:Delete", object__size=None),
        s3_record(object__key="c", eventName="ObjectCreated:CompleteMultipartUpload"),
        s3_record(object__key="d", eventName="s3:ObjectCreated:Copy"),
    )
    found = parse_notification(body)
    assert [(ref.key, ref.version, ref.event_name) for ref in found.created] == [
        ("a", "v1", "ObjectCreated:Put"),
        ("c", None, "ObjectCreated:CompleteMultipartUpload"),
        ("d", None, "ObjectCreated:Copy"),
    ]
    assert [(ref.key, ref.size) for ref in found.removed] == [("b", None)]
    assert (found.ignored, found.error) == (None, None)


@UNTIMED
@given(key=st.text(min_size=1))
def test_keys_come_back_as_they_were_written(key):
    assert parse_notification(records(s3_record(object__key=quote_plus(key)))).created[0].key == key
    bridged = parse_notification(json.dumps(bridge_event(object__key=key)))
    assert bridged.created[0].key == key


@pytest.mark.parametrize(
    ("encoded", "key"),
    [
        ("a+b", "a b"),
        ("a%2Bb", "a+b"),
        ("a%20b", "a b"),
        ("100%25", "100%"),
        ("a%2Fb", "a/b"),
        ("%E6%97%A5%E6%9C%AC", "日本"),
        ("a&b=c", "a&b=c"),
        ("plain", "plain"),
    ],
)
def test_keys_in_record_lists_are_form_encoded_and_in_eventbridge_not(encoded, key):
    assert parse_notification(records(s3_record(object__key=encoded))).created[0].key == key
    bridged = parse_notification(json.dumps(bridge_event(object__key=encoded)))
    assert bridged.created[0].key == encoded


def test_a_version_id_names_the_version():
    body = records(s3_record(object__versionId="096fKKXTRTtl3on89fVO.nfljtsv6qko"))
    assert parse_notification(body).created[0].version == "096fKKXTRTtl3on89fVO.nfljtsv6qko"
    assert parse_notification(records(s3_record())).created[0].version is None


@pytest.mark.parametrize(
    "name",
    [
        "ObjectRemoved:Delete",
        "ObjectRemoved:DeleteMarkerCreated",
        "LifecycleExpiration:Delete",
        "LifecycleExpiration:DeleteMarkerCreated",
    ],
)
def test_removals_stand_apart(name):
    body = records(s3_record(eventName=name, object__size=REMOVE, object__eTag=REMOVE))
    found = parse_notification(body)
    assert found.created == []
    assert [(ref.key, ref.size, ref.etag, ref.event_name) for ref in found.removed] == [
        (KEY, None, None, name)
    ]


def test_an_eventbridge_removal_stands_apart():
    event = bridge_event(detail_type="Object Deleted", object__size=REMOVE)
    found = parse_notification(json.dumps(event))
    assert found.created == []
    assert [(ref.key, ref.version) for ref in found.removed] == [(KEY, "EXAMPLEversion")]


TEST_EVENT = json.dumps(
    {
        "Service": "Amazon S3",
        "Event": "s3:TestEvent",
        "Time": "2026-11-22T22:39:47.725Z",
        "Bucket": "amzn-s3-demo-bucket",
        "RequestId": "EXAMPLE",
        "HostId": "EXAMPLE",
    }
)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (TEST_EVENT, "s3_test_event"),
        (sns(TEST_EVENT), "s3_test_event"),
        (records(), "no_records"),
        (records(s3_record(eventName="ObjectRestore:Completed")), "ObjectRestore:Completed"),
        (records(s3_record(eventName="s3:LifecycleTransition")), "LifecycleTransition"),
        (
            records(
                *(s3_record(eventName=f"ObjectTagging:{verb}") for verb in ("Put", "Put", "Del"))
            ),
            "ObjectTagging:Put,ObjectTagging:Del",
        ),
        (json.dumps(bridge_event(detail_type="Object Tags Added")), "Object Tags Added"),
        (sns("confirm, please", Type="SubscriptionConfirmation"), "sns_SubscriptionConfirmation"),
    ],
)
def test_what_asks_for_nothing_is_ignored_with_its_reason(body, why):
    assert parse_notification(body) == Notification(ignored=why)


def test_unknown_members_do_no_harm():
    record = s3_record() | {"glacierEventData": {"a": 1}, "new": [None]}
    record["s3"]["object"]["new"] = {}
    assert parse_notification(records(record)) == Notification([CREATED])


@pytest.mark.parametrize("version", ["2.0", "2.6", "2.99", "2"])
def test_minor_event_versions_are_read(version):
    assert parse_notification(records(s3_record(eventVersion=version))).created == [CREATED]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("", "empty"),
        ("oops", "unexpected character"),
        (b"\xff", "UTF-8"),
        ("1", "not 1"),
        ("null", "not None"),
        ("[]", "not []"),
        ("{}", "no known notification, keys []"),
        ('{"a":1,"Event":"s3:Other"}', "keys ['Event', 'a']"),
        ("[" * 100_000, "depth"),
        ('{"Records":{}}', "Records must be a list, not {}"),
        ('{"Records":[1]}', "eventSource must be a non-empty str, not None"),
        (sns("oops"), "unexpected character"),
        (sns("[1]"), "not [1]"),
        (sns({"Records": []}), "no known notification"),
        (records(s3_record(eventVersion="3.0")), "eventVersion is '3.0', only 2.x is known"),
        (records(s3_record(eventVersion="21")), "eventVersion is '21'"),
        (records(s3_record(eventVersion=2)), "eventVersion must be a non-empty str, not 2"),
        (records(s3_record(eventSource="aws:sqs")), "eventSource is 'aws:sqs'"),
        (records(s3_record(eventName=REMOVE)), "eventName must be a non-empty str"),
        (records(s3_record(eventName="ObjectMoved:Put")), "eventName is 'ObjectMoved:Put'"),
        (records(s3_record(eventName="object created")), "eventName is 'object created'"),
        (json.dumps(bridge_event(detail_type="Object Moved")), "detail-type is 'Object Moved'"),
        (records(s3_record(s3={"object": []})), "object must be a non-empty dict"),
        (records(s3_record(s3__bucket={"name": ""})), "name must be a non-empty str, not ''"),
        (records(s3_record(object__key="")), "key must be a non-empty str, not ''"),
        (records(s3_record(object__key="%FF")), "key is not UTF-8 behind its encoding: '%FF'"),
        (records(s3_record(object__size=-1)), "size must be a number of bytes, not -1"),
        (records(s3_record(object__size=2**63)), f"size must be a number of bytes, not {2**63}"),
        (records(s3_record(object__size="1")), "size must be a non-empty int, not '1'"),
        (records(s3_record(eventTime="yesterday")), "eventTime is no time: 'yesterday'"),
        (records(s3_record(eventTime="0001-01-01T00:00+14:00")), "eventTime is no time"),
        (json.dumps(bridge_event(source="aws.ec2")), "source is 'aws.ec2', not 'aws.s3'"),
        (json.dumps(bridge_event(detail__version="1")), "detail.version is '1'"),
        (json.dumps(bridge_event(detail=[])), "detail must be a non-empty dict, not []"),
        (json.dumps(bridge_event(object__key=7)), "key must be a non-empty str, not 7"),
    ],
)
def test_what_is_broken_or_unknown_is_an_error_that_tells_the_wrong_value(body, reason):
    found = parse_notification(body)
    assert (found.created, found.removed, found.ignored) == ([], [], None)
    assert reason in found.error


def test_readable_records_beside_a_broken_one_are_read_and_the_error_told():
    found = parse_notification(records(s3_record(), s3_record(eventVersion="9.0"), s3_record()))
    assert found == Notification(
        [CREATED, CREATED], error="eventVersion is '9.0', only 2.x is known"
    )


def test_an_error_stays_short():
    assert len(parse_notification(json.dumps(["x" * 100_000])).error) == 200


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@settings(UNTIMED, max_examples=300)
@given(st.data())
def test_no_message_raises(data):
    def damaged(value):
        """The same, with one part at a random place replaced or left out."""
        if isinstance(value, dict) and value and data.draw(st.booleans()):
            name = data.draw(st.sampled_from(sorted(value)))
            rest = {other: value[other] for other in value if other != name}
            return rest if data.draw(st.booleans()) else rest | {name: damaged(value[name])}
        if isinstance(value, list) and value:
            return [damaged(value[0]), *value[1:]]
        return data.draw(json_values)

    shape = data.draw(
        st.sampled_from([{"Records": [s3_record()]}, bridge_event(), json.loads(sns("{}"))])
    )
    body = json.dumps(damaged(shape))
    for message in (body, body.encode(), sns(body), body[: len(body) // 2]):
        found = parse_notification(message)
        assert found.created or found.removed or found.ignored or found.error


@UNTIMED
@given(st.binary() | st.text())
def test_no_bytes_raise(body):
    assert parse_notification(body).error is not None


# Against a slow, plainly right reference.

NAMES = {
    "created": ["ObjectCreated:Put", "ObjectCreated:Copy", "Object Created"],
    "removed": ["ObjectRemoved:Delete", "LifecycleExpiration:Delete", "Object Deleted"],
    "ignored": ["ObjectTagging:Put", "ObjectAcl:Put", "LifecycleTransition", "Object Tags Added"],
    "unknown": ["ObjectMoved:Put", "Object", "objectcreated:put", "Created"],
}


def form_decoded(text):
    """The text without its form encoding; None where that is no UTF-8."""
    found, at = b"", 0
    while at < len(text):
        digits = text[at + 1 : at + 3]
        if text[at] == "%" and len(digits) == 2 and set(digits) <= set(string.hexdigits):
            found += bytes([int(digits, 16)])
            at += 3
        else:
            found += (" " if text[at] == "+" else text[at]).encode()
            at += 1
    try:
        return found.decode()
    except UnicodeDecodeError:
        return None


def events_of(message):
    """(name, bucket, key or None, version, eTag, size, second) of each event."""
    while "Message" in message:
        message = json.loads(message["Message"])
    if "Records" in message:
        for record in message["Records"]:
            item = record["s3"]["object"]
            yield (
                record["eventName"],
                record["s3"]["bucket"]["name"],
                form_decoded(item["key"]),
                item["versionId"] or None,
                item["eTag"] or None,
                item["size"],
                record["eventTime"][:19],
            )
    else:
        item = message["detail"]["object"]
        yield (
            message["detail-type"],
            message["detail"]["bucket"]["name"],
            item["key"],
            item["version-id"] or None,
            item["etag"] or None,
            item["size"],
            message["time"][:19],
        )


def reference(message):
    """The events of each kind; those of no known kind, or without a key, are unknown."""
    said = {kind: [] for kind in NAMES}
    for event in events_of(message):
        kind = next(kind for kind, names in NAMES.items() if event[0] in names)
        said["unknown" if event[2] is None else kind].append(event)
    return said


def event_of(ref):
    second = ref.event_time.isoformat()[:19]
    return ref.event_name, ref.bucket, ref.key, ref.version, ref.etag, ref.size, second


event_names = st.sampled_from([name for names in NAMES.values() for name in names])
maybe = st.none() | st.just("") | st.text("abc123", min_size=1, max_size=4)


@st.composite
def messages(draw):
    """Events of any kind, in any shape."""

    def one(shape, prefix, id_name, etag_name):
        return shape(
            **{
                prefix: draw(event_names),
                "object__key": draw(st.text("ab+%2B0C3Fü ", min_size=1, max_size=8)),
                f"object__{id_name}": draw(maybe),
                f"object__{etag_name}": draw(maybe),
                "object__size": draw(st.none() | st.integers(0, 9)),
            }
        )

    if draw(st.booleans()):
        count = draw(st.integers(1, 4))
        message = {
            "Records": [one(s3_record, "eventName", "versionId", "eTag") for _ in range(count)]
        }
    else:
        message = one(bridge_event, "detail-type", "version-id", "etag")
    for _ in range(draw(st.integers(0, 2))):
        message = json.loads(sns(json.dumps(message)))
    return message


@settings(UNTIMED, max_examples=300)
@given(messages())
def test_messages_are_read_as_a_slow_reference_reads_them(message):
    found = parse_notification(json.dumps(message))
    said = reference(message)
    assert list(map(event_of, found.created)) == said["created"]
    assert list(map(event_of, found.removed)) == said["removed"]
    names = dict.fromkeys(name for name, *_ in said["ignored"])
    assert found.ignored == (",".join(names) or None)
    assert (found.error is not None) == bool(said["unknown"])


# Sequencers.


@UNTIMED
@given(st.text("0123456789ABCDEF", max_size=20), st.text("0123456789ABCDEF", max_size=20))
def test_sequencers_compare_as_if_the_shorter_were_padded_with_zeros(one, other):
    width = max(len(one), len(other))
    padded = [text.ljust(width, "0") for text in (one, other)]
    keys = [sequencer_key(text) for text in (one, other)]
    assert (keys[0] < keys[1]) == (padded[0] < padded[1])
    assert (keys[0] == keys[1]) == (padded[0] == padded[1])


def test_an_unknown_sequencer_comes_first_and_case_does_not_matter():
    assert sequencer_key(None) < sequencer_key("0001")
    assert sequencer_key("00ab") == sequencer_key("00AB")
