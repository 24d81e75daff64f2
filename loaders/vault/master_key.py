"""The master key: a key in AWS KMS that never leaves it, and wraps data keys."""

from __future__ import annotations

import os
from typing import Any

from loaders.session import ConfigurationError
from loaders.sources.clients import client
from loaders.vault.envelope import DataKey


class MasterKey:
    """A KMS key. Each data key is bound to a purpose by its encryption context.

    Args:
        key_id: key id, ARN or alias (`alias/…`) of a symmetric key.
    """

    def __init__(self, key_id: str) -> None:
        self.key_id = key_id

    def new_data_key(self, **purpose: str) -> DataKey:
        """A new 256-bit key for a purpose."""
        answer = self._kms.generate_data_key(
            KeyId=self.key_id, KeySpec="AES_256", EncryptionContext=purpose
        )
        return DataKey(answer["Plaintext"], answer["CiphertextBlob"])

    def unwrap(self, wrapped: bytes, **purpose: str) -> bytes:
        """The key in clear; KMS knows itself which master key wrapped it."""
        answer = self._kms.decrypt(CiphertextBlob=wrapped, EncryptionContext=purpose)
        return answer["Plaintext"]

    def wrap(self, plain: bytes, **purpose: str) -> bytes:
        """A key, or another small secret, wrapped under this master key."""
        answer = self._kms.encrypt(KeyId=self.key_id, Plaintext=plain, EncryptionContext=purpose)
        return answer["CiphertextBlob"]

    @property
    def _kms(self) -> Any:
        return client("kms")


def master_key() -> MasterKey:
    """The key that VAULT_KMS_KEY names.

    Raises:
        ConfigurationError: none is named.
    """
    key_id = os.environ.get("VAULT_KMS_KEY")
    if not key_id:
        raise ConfigurationError(
            "VAULT_KMS_KEY is not set: name the KMS key that protects the vault, such as "
            "alias/multihop-vault"
        )
    return MasterKey(key_id)
