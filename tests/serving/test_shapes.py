from openai.types import Video

from serving.errors import ApiError
from serving.record import JobError, claimed, failed
from serving.shapes import error_body, plain_number, video_list, video_object
from tests.serving.jobs import job


def test_a_job_has_every_key_of_the_specification_and_our_extensions():
    body = video_object(job())
    specified = {"id", "object", "model", "status", "progress", "created_at", "completed_at", "expires_at", "prompt"}
    specified |= {"size", "seconds", "remixed_from_video_id", "error"}
    assert set(Video.model_fields) <= specified <= set(body)
    assert set(body) - specified == {"revised_prompt", "fps", "seed", "steps", "guidance_scale", "model_version"}
    assert (body["size"], body["seconds"], body["status"], body["progress"]) == ("48x32", "1.5", "queued", 0)


def test_a_failed_job_carries_a_text_code_as_the_sdk_types_it():
    record = failed(claimed(job(), "w", 9.0), JobError(code="model_gone", message="gone"), 5)
    assert video_object(record)["error"] == {"code": "model_gone", "message": "gone"}
    assert Video.model_validate(video_object(record) | {"size": "1280x720"}).error.code == "model_gone"


def test_an_empty_page_ends_the_sdks_paging():
    assert video_list([], False) == {"object": "list", "data": [], "first_id": None, "last_id": None, "has_more": False}


def test_a_page_names_its_first_and_last_job():
    first, last = job(), job()
    page = video_list([first, last], True)
    assert (page["first_id"], page["last_id"], page["has_more"]) == (first.id, last.id, True)


def test_an_error_has_openais_four_fields_and_type():
    body = error_body(ApiError(401, "No.", code="invalid_api_key"))
    assert body == {
        "error": {"message": "No.", "type": "authentication_error", "param": None, "code": "invalid_api_key"}
    }
    assert error_body(ApiError(400, "x", param="size"))["error"]["type"] == "invalid_request_error"
    assert error_body(ApiError(503, "x"))["error"]["type"] == "server_error"


def test_whole_seconds_are_written_without_a_fraction():
    assert [plain_number(value) for value in (4.0, 1.125)] == ["4", "1.125"]
