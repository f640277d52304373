from reelworks import storage
from serving import keys
from serving.keys import KeyRing, create_key, revoke_key


def test_a_key_is_known_by_every_replica_and_kept_only_as_a_hash(prefix: str):
    token = create_key(prefix, "demo")
    key_id = KeyRing(prefix).owner(token)
    assert key_id is not None and key_id in token
    (stored,) = [storage.get_bytes(info.uri) for info in storage.list_objects(prefix)]
    assert token.rpartition("-")[2].encode() not in stored


def test_a_wrong_secret_and_any_other_text_are_refused(prefix: str):
    token = create_key(prefix, "demo")
    ring = KeyRing(prefix)
    wrong = token[:-1] + ("0" if token[-1] != "0" else "1")
    for text in (wrong, "", "rw-", token.upper(), token + " ", "rw-../../x-" + "0" * 48, "rw-000000000000-" + "0" * 48):
        assert ring.owner(text) is None
    assert ring.owner(token) is not None


def test_a_revoked_key_is_refused_once_the_replica_looks_again(prefix: str, monkeypatch):
    token = create_key(prefix, "demo")
    ring = KeyRing(prefix)
    key_id = ring.owner(token)
    revoke_key(prefix, key_id)
    monkeypatch.setattr(keys, "KNOWN_FOR_S", 0.0)
    assert ring.owner(token) is None
