"""Object storage: list, ranged read, create-once, compare-and-set, folders that are there wholly or not at all.

Endpoint and credentials come from the environment (AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY,
AWS_DEFAULT_REGION). Objects are named by `s3://bucket/key`.
"""

from reelworks.storage.checks import check_bucket, check_readable
from reelworks.storage.folders import MARKER, download_folder, is_committed, upload_folder
from reelworks.storage.objects import (
    DELETED_AT_ONCE,
    ObjectInfo,
    Stored,
    clock_s,
    create_file_once,
    create_once,
    delete,
    delete_keys,
    delete_prefix,
    get_bytes,
    get_file,
    head,
    list_objects,
    presign,
    split_uri,
    swap,
)
from reelworks.storage.ranged import RangedFile, open_ranged
from reelworks.storage.traffic import Moved, moved

__all__ = [
    "DELETED_AT_ONCE",
    "MARKER",
    "Moved",
    "ObjectInfo",
    "RangedFile",
    "Stored",
    "check_bucket",
    "check_readable",
    "clock_s",
    "create_file_once",
    "create_once",
    "delete",
    "delete_keys",
    "delete_prefix",
    "download_folder",
    "get_bytes",
    "get_file",
    "head",
    "is_committed",
    "list_objects",
    "moved",
    "open_ranged",
    "presign",
    "split_uri",
    "swap",
    "upload_folder",
]
