import pytest

from infra.local.process import free_ports
from reelworks import storage
from reelworks.errors import UserError


def test_a_good_bucket_passes_and_nothing_is_left_in_it(prefix: str) -> None:
    storage.check_bucket(prefix)
    assert list(storage.list_objects(prefix)) == []


def test_a_missing_bucket_is_named(s3_server: str) -> None:
    with pytest.raises(UserError, match="There is no bucket 'nowhere'"):
        storage.check_bucket("s3://nowhere/x")
    with pytest.raises(UserError, match="There is no bucket 'nowhere'"):
        storage.check_readable("s3://nowhere")


def test_wrong_credentials_are_named_with_the_variables_to_set(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody-else")
    with pytest.raises(UserError, match="refuses these credentials.*AWS_SECRET_ACCESS_KEY"):
        storage.check_bucket("s3://reelworks/x")


def test_an_unreachable_endpoint_is_named(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    nobody = f"http://127.0.0.1:{free_ports(1)[0]}"
    monkeypatch.setenv("AWS_ENDPOINT_URL", nobody)
    with pytest.raises(UserError, match=f"Can't use bucket 'reelworks' at {nobody}"):
        storage.check_bucket("s3://reelworks/x")


@pytest.mark.parametrize("condition", ["IfNoneMatch", "IfMatch"])
def test_a_store_that_ignores_conditions_is_refused(
    s3_server: str, monkeypatch: pytest.MonkeyPatch, condition: str
) -> None:
    from reelworks.storage import checks
    from reelworks.storage.client import s3

    class Careless:
        """The real client, but one condition never reaches the server."""

        def __getattr__(self, name: str) -> object:
            return getattr(s3(), name)

        def put_object(self, **arguments: object) -> object:
            arguments.pop(condition, None)
            return s3().put_object(**arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(checks, "s3", Careless)
    with pytest.raises(UserError, match="ignores conditions"):
        storage.check_bucket("s3://reelworks/careless")


def test_a_store_that_ignores_conditions_on_ranged_reads_is_refused(
    s3_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from reelworks.storage import checks

    def careless(uri: str, *, start: int, length: int, etag: str) -> bytes:
        return storage.get_bytes(uri, start=start, length=length)

    monkeypatch.setattr(checks, "get_bytes", careless)
    with pytest.raises(UserError, match="ignores conditions: a ranged read with a stale If-Match"):
        storage.check_bucket("s3://reelworks/careless")
