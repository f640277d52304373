"""The API through the unmodified OpenAI SDK."""

import hashlib

import httpx2 as httpx
import openai
import pytest

from tests.serving.conftest import MAX_PENDING, Running

FRAME_BYTES = 48 * 32 * 3


def test_a_plain_create_is_polled_and_downloaded(client: openai.OpenAI):
    video = client.videos.create_and_poll(prompt="a red circle")
    assert (video.status, video.progress, video.error) == ("completed", 100, None)
    assert (video.object, video.model, video.size, video.seconds) == ("video", "shapeworld-dit", "48x32", "1.5")
    assert video.prompt == "a red circle"
    assert video.revised_prompt == "a red circle on a smooth background"
    assert video.completed_at >= video.created_at
    assert len(client.videos.download_content(video.id).read()) == 12 * FRAME_BYTES


def test_every_asked_field_reaches_the_video(client: openai.OpenAI):
    extra = {"fps": 6, "seed": 77, "guidance_scale": 1.5, "steps": 2}
    video = client.videos.create_and_poll(prompt="x", size="64x40", seconds="2", extra_body=extra)
    assert (video.size, video.seconds) == ("64x40", "2")
    assert (video.fps, video.seed, video.guidance_scale, video.steps) == (6, 77, 1.5, 2)
    assert client.videos.download_content(video.id).read() == bytes([77]) * (12 * 64 * 40 * 3)


def test_json_and_multipart_create_alike(running: Running, client: openai.OpenAI):
    headers = {"authorization": f"Bearer {client.api_key}"}
    url = f"{running.url}/v1/videos"
    from_json = httpx.post(url, headers=headers, json={"prompt": "x", "seconds": 2, "seed": 5}).json()
    from_form = httpx.post(url, headers=headers, data={"prompt": "x", "seconds": "2", "seed": "5"}).json()
    multipart = httpx.post(url, headers=headers, files={"prompt": (None, "x"), "seconds": (None, "2")}).json()
    same = ("size", "seconds", "fps", "prompt", "model")
    assert (
        [from_json[name] for name in same] == [from_form[name] for name in same] == [multipart[name] for name in same]
    )
    assert from_json["seed"] == from_form["seed"] == 5


def test_pages_list_every_job_once_newest_first_and_ascending_too(paused: Running):
    client = paused.new_client()
    made = [client.videos.create(prompt=f"number {n}").id for n in range(5)]
    assert [video.id for video in client.videos.list(limit=2)] == made[::-1]
    assert [video.id for video in client.videos.list(limit=2, order="asc")] == made
    page = client.videos.list(limit=2)
    assert (page.has_more, page.last_id) == (True, made[3])
    assert client.videos.list(limit=100).has_more is False


def test_a_deleted_video_is_gone_from_every_route(client: openai.OpenAI):
    video = client.videos.create_and_poll(prompt="x")
    deleted = client.videos.delete(video.id)
    assert (deleted.id, deleted.deleted, deleted.object) == (video.id, True, "video.deleted")
    for call in (client.videos.retrieve, client.videos.delete, client.videos.download_content):
        with pytest.raises(openai.NotFoundError):
            call(video.id)
    assert list(client.videos.list()) == []


def test_a_video_deleted_on_its_way_never_appears(paused: Running):
    client = paused.new_client()
    video = client.videos.create(prompt="x")
    client.videos.delete(video.id)
    paused.engine.may_step.set()
    with pytest.raises(openai.NotFoundError):
        client.videos.retrieve(video.id)


def test_another_keys_video_looks_like_none(running: Running, client: openai.OpenAI):
    video = client.videos.create_and_poll(prompt="x")
    other = running.new_client()
    for call in (other.videos.retrieve, other.videos.delete, other.videos.download_content):
        with pytest.raises(openai.NotFoundError) as caught:
            call(video.id)
        assert caught.value.code == "video_not_found"
    assert list(other.videos.list()) == []


@pytest.mark.parametrize("token", ["wrong", "rw-000000000000-" + "0" * 48])
def test_a_wrong_key_is_refused_as_the_sdk_expects(running: Running, token: str):
    with pytest.raises(openai.AuthenticationError) as caught:
        running.new_client(api_key=token).videos.create(prompt="x")
    assert caught.value.code == "invalid_api_key"
    assert caught.value.request_id.startswith("req_")


def test_without_a_key_no_route_but_health_answers(running: Running):
    for method, path in [
        ("POST", "/v1/videos"),
        ("GET", "/v1/videos"),
        ("GET", "/v1/videos/video_x"),
        ("DELETE", "/v1/videos/video_x"),
        ("GET", "/v1/videos/video_x/content"),
    ]:
        assert httpx.request(method, running.url + path).status_code == 401
    assert httpx.get(running.url + "/healthz").status_code == 200


def test_health_tells_what_is_served(running: Running):
    body = httpx.get(f"{running.url}/healthz").json()
    assert (body["status"], body["model"]["name"], body["model"]["version"]) == ("ok", "shapeworld-dit", 3)
    assert body["limits"]["max_size_px"] == 64 and body["defaults"]["width"] == 48


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt": ""}, "prompt"),
        ({"prompt": "x", "size": "720x1280"}, "size"),
        ({"prompt": "x", "seconds": "60"}, "seconds"),
        ({"prompt": "x", "model": "sora-2"}, "model"),
        ({"prompt": "x", "extra_body": {"colour": "red"}}, "colour"),
        ({"prompt": "x", "extra_body": {"seed": "many"}}, "seed"),
        ({"prompt": "x", "input_reference": b"not an image"}, "input_reference"),
    ],
)
def test_a_bad_request_names_its_field_in_openais_shape(client: openai.OpenAI, fields: dict, param: str):
    with pytest.raises(openai.BadRequestError) as caught:
        client.videos.create(**fields)
    error = caught.value
    assert (error.param, error.type) == (param, "invalid_request_error")
    assert error.request_id.startswith("req_")


def test_a_body_that_is_no_request_is_refused_and_hurts_nothing(running: Running, client: openai.OpenAI):
    headers = {"authorization": f"Bearer {client.api_key}"}
    url = f"{running.url}/v1/videos"
    form = "multipart/form-data"
    for content, kind, status in [
        (b"{", "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b"[]", "application/json", 400),
        (b"\xff\xfe", "application/json", 400),
        (b"prompt", "text/plain", 415),
        (b"", form, 400),
        (b"garbage", f"{form}; boundary=x", 400),
        (b" " * 300_000, "application/json", 413),
    ]:
        answer = httpx.post(url, headers={**headers, "content-type": kind}, content=content)
        assert (answer.status_code, content[:10], kind) == (status, content[:10], kind)
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    chunks = httpx.post(url, headers={**headers, "content-type": "application/json"}, content=iter([b" " * 9999] * 40))
    assert chunks.status_code == 413
    assert client.videos.create(prompt="still here").status == "queued"


@pytest.mark.parametrize("query", ["limit=101", "limit=-1", "limit=x", "limit=²", "order=up", "after=../keys"])
def test_a_bad_query_is_a_400(running: Running, client: openai.OpenAI, query: str):
    answer = httpx.get(f"{running.url}/v1/videos?{query}", headers={"authorization": f"Bearer {client.api_key}"})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == query.partition("=")[0]


def test_an_unknown_route_or_method_is_in_openais_shape_too(running: Running):
    for method, path, status in [("GET", "/v1/nothing", 404), ("PUT", "/v1/videos", 405), ("GET", "/", 404)]:
        answer = httpx.request(method, running.url + path)
        assert answer.status_code == status
        assert answer.json()["error"]["type"] == "invalid_request_error"
        assert "x-request-id" in answer.headers


def test_the_same_idempotency_key_is_one_video_and_other_fields_are_refused(paused: Running):
    client = paused.new_client()
    headers = {"Idempotency-Key": "order-7"}
    first = client.videos.create(prompt="x", extra_headers=headers)
    assert client.videos.create(prompt="x", extra_headers=headers).id == first.id
    with pytest.raises(openai.BadRequestError) as caught:
        client.videos.create(prompt="y", extra_headers=headers)
    assert caught.value.code == "idempotency_conflict"
    assert len(list(client.videos.list())) == 1


def test_a_retry_of_the_sdk_whose_first_answer_was_lost_makes_no_second_video(paused: Running):
    client = paused.new_client()
    first = client.videos.create(prompt="x")
    retried = client.videos.create(prompt="x", extra_headers={"x-stainless-retry-count": "1"})
    assert retried.id == first.id
    assert client.videos.create(prompt="x").id != first.id


def test_a_key_with_too_many_unfinished_videos_is_told_to_wait(paused: Running):
    client = paused.new_client()
    for number in range(MAX_PENDING):
        client.videos.create(prompt=f"number {number}")
    with pytest.raises(openai.RateLimitError) as caught:
        client.videos.create(prompt="one more")
    assert caught.value.code == "queue_full"
    assert int(caught.value.response.headers["retry-after"]) > 0
    assert paused.new_client().videos.create(prompt="another key's").status == "queued"


def test_content_before_the_end_is_404_which_the_sdk_does_not_retry(paused: Running):
    client = paused.new_client(max_retries=2)
    video = client.videos.create(prompt="x")
    with pytest.raises(openai.NotFoundError) as caught:
        client.videos.download_content(video.id)
    assert caught.value.code == "video_not_ready"
    answer = client.videos.with_raw_response.retrieve(video.id)
    assert int(answer.headers["openai-poll-after-ms"]) > 0


def test_a_failed_video_is_returned_by_poll_with_its_reason(client: openai.OpenAI):
    video = client.videos.create_and_poll(prompt="POISON")
    assert (video.status, video.error.code) == ("failed", "generation_failed")


def test_content_comes_in_ranges_with_an_etag(running: Running, client: openai.OpenAI):
    video = client.videos.create_and_poll(prompt="x", extra_body={"seed": 9})
    headers = {"authorization": f"Bearer {client.api_key}"}
    url = f"{running.url}/v1/videos/{video.id}/content"
    whole = httpx.get(url, headers=headers)
    size, etag = 12 * FRAME_BYTES, whole.headers["etag"]
    assert (whole.status_code, whole.headers["content-type"], len(whole.content)) == (200, "video/mp4", size)
    assert etag.strip('"') == hashlib.sha256(whole.content).hexdigest()
    assert video.id in whole.headers["content-disposition"]
    part = httpx.get(url, headers={**headers, "range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, whole.content[10:20])
    assert part.headers["content-range"] == f"bytes 10-19/{size}"
    assert httpx.get(url, headers={**headers, "range": "bytes=10-19", "if-range": '"other"'}).status_code == 200
    beyond = httpx.get(url, headers={**headers, "range": f"bytes={size}-"})
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{size}")
    assert httpx.get(url, headers={**headers, "if-none-match": etag}).status_code == 304
    head = httpx.head(url, headers=headers)
    assert (head.status_code, head.headers["content-length"], head.content) == (200, str(size), b"")


def test_the_sdk_streams_a_video_to_a_file(client: openai.OpenAI, tmp_path):
    video = client.videos.create_and_poll(prompt="x")
    client.videos.download_content(video.id, variant="video").write_to_file(tmp_path / "v.mp4")
    assert (tmp_path / "v.mp4").stat().st_size == 12 * FRAME_BYTES
    with pytest.raises(openai.BadRequestError) as caught:
        client.videos.download_content(video.id, variant="thumbnail")
    assert caught.value.param == "variant"
