"""The zip that AWS Lambda runs: remediation and e-mail, with what they need besides boto3."""

from __future__ import annotations

import zipfile
from pathlib import Path

from loaders.session import PROJECT_ROOT

# They import each other, the standard library and boto3, and nothing else.
MODULES = (
    "loaders/__init__.py",
    "loaders/alerts/__init__.py",
    "loaders/alerts/message.py",
    "loaders/alerts/weights.py",
    "loaders/alerts/remediation.py",
    "loaders/alerts/email.py",
)
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the same bytes for the same modules


def write_archive(path: Path) -> None:
    """Write the zip."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in MODULES:
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.external_attr = 0o644 << 16  # Lambda's user must be able to read it
            archive.writestr(entry, (PROJECT_ROOT / name).read_bytes(), zipfile.ZIP_DEFLATED)
