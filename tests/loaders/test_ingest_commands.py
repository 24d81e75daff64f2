"""python -m loaders ingest …: what a person can mend ends in one line."""

from __future__ import annotations

import base64
import socket
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError
from click.testing import CliRunner
from ingest_server import a_landing, a_login, a_master_key, an_ingest

from loaders.ingest.commands import ingest as command
from loaders.session import ConfigurationError
from loaders.vault.master_key import MasterKey


@pytest.fixture(autouse=True)
def master(aws: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MasterKey:
    made = a_master_key()
    monkeypatch.setenv("VAULT_ROOT", str(tmp_path / "vault"))
    monkeypatch.setenv("VAULT_KMS_KEY", made.key_id)
    monkeypatch.setenv("GAMES_FIREHOSE", "games")
    return made


def call(*arguments: str) -> str:
    outcome = CliRunner().invoke(command, arguments, catch_exceptions=False, standalone_mode=False)
    return outcome.stdout


def test_keys_of_studios_are_made_listed_and_revoked() -> None:
    key_id = call("key", "create", "north").split()[1]
    assert call("key", "list").startswith(f"{key_id}  north  made ")
    assert call("key", "revoke", key_id) == f"{key_id} is not valid any more\n"
    with pytest.raises(ConfigurationError, match=f"no key '{key_id}'"):
        call("key", "revoke", key_id)
    assert call("key", "list") == ""


def test_while_kms_is_away_a_key_is_not_made_and_a_service_does_not_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def away(*_: Any, **__: Any) -> bytes:
        raise EndpointConnectionError(endpoint_url="https://kms.invalid")

    for method in ("wrap", "unwrap", "new_data_key"):
        monkeypatch.setattr(MasterKey, method, away)
    for arguments in (("key", "create", "north"), ("--port", "0")):
        with pytest.raises(ConfigurationError, match=r"KMS does not help: .*kms\.invalid.*: see"):
            call(*arguments)
    assert call("key", "list") == ""


def test_a_file_that_is_no_vault_is_told(tmp_path: Path) -> None:
    (tmp_path / "vault").mkdir(mode=0o700)
    (tmp_path / "vault" / "vault.db").write_text("no database " * 100)
    for arguments in (("key", "list"), ("--port", "0")):
        with pytest.raises(ConfigurationError, match="file is not a database"):
            call(*arguments)


def test_an_address_that_is_taken_or_is_not_ours_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=rf"127\.0\.0\.1:{port}: .*in use.*--port"):
            call("--port", str(port))
    with pytest.raises(ConfigurationError, match=r"cannot listen on 192\.0\.2\.1:0: .*--host"):
        call("--host", "192.0.2.1", "--port", "0", "--behind-proxy")
    with pytest.raises(ConfigurationError, match=r"cannot listen on 127\.0\.0\.1:99999"):
        call("--port", "99999")


def test_a_left_journal_that_does_not_open_is_told_and_stays(
    tmp_path: Path, master: MasterKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loaders.ingest.service.STOP_SECONDS", 0.1)
    with a_landing() as landing:
        landing.firehose.refuse = lambda record: "ServiceUnavailableException"
        with an_ingest(tmp_path / "vault", master) as running:
            assert running.sender.post([a_login("u")]).status_code == 200
    monkeypatch.setenv("VAULT_ROOT", str(tmp_path / "vault"))
    (left,) = (tmp_path / "vault" / "journal").glob("*.journal")
    rest = left.read_bytes().partition(b"\n")[2]
    of_another_purpose = base64.b64encode(master.new_data_key(purpose="another").wrapped)
    damages = {
        b"{": "first line is damaged",
        b"{}": "first line is damaged",
        b'{"wrapped_key": "A"}': "first line is damaged",
        b'{"wrapped_key": "%s"}' % of_another_purpose: "InvalidCiphertext",
    }
    for line, told in damages.items():
        left.write_bytes(line + b"\n" + rest)
        with pytest.raises(ConfigurationError, match=rf"acknowledged .*({told}).* move it away"):
            call("--port", "0")
        assert left.read_bytes() == line + b"\n" + rest
