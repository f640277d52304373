"""Bodies of the OpenAI Videos API. Every key of the specification is always present; extensions stand beside them."""

from __future__ import annotations

from typing import Any

from serving.errors import ApiError, error_type
from serving.record import JobRecord


def video_object(record: JobRecord) -> dict[str, Any]:
    """`Video` of the specification plus fps, seed, steps, guidance_scale, revised_prompt, model_version."""
    asked = record.asked
    return {
        "id": record.id,
        "object": "video",
        "model": record.model.name,
        "status": record.status.value,
        "progress": record.progress,
        "created_at": record.created_at,
        "completed_at": record.completed_at,
        "expires_at": None,
        "prompt": asked.prompt,
        "size": f"{asked.width}x{asked.height}",
        "seconds": plain_number(asked.seconds),
        "remixed_from_video_id": None,
        "error": record.error.model_dump() if record.error else None,
        "revised_prompt": record.revised_prompt,
        "fps": asked.fps,
        "seed": asked.seed,
        "steps": asked.steps,
        "guidance_scale": asked.guidance,
        "model_version": record.model.version,
    }


def video_list(records: list[JobRecord], has_more: bool) -> dict[str, Any]:
    """One page; the SDK pages on with `last_id` while `has_more`."""
    return {
        "object": "list",
        "data": [video_object(record) for record in records],
        "first_id": records[0].id if records else None,
        "last_id": records[-1].id if records else None,
        "has_more": has_more,
    }


def video_deleted(job_id: str) -> dict[str, Any]:
    """Answer to DELETE."""
    return {"id": job_id, "object": "video.deleted", "deleted": True}


def error_body(error: ApiError) -> dict[str, Any]:
    """OpenAI's error object."""
    return {
        "error": {
            "message": error.message,
            "type": error_type(error.status),
            "param": error.param,
            "code": error.code,
        }
    }


def plain_number(value: float) -> str:
    """A number as the API writes seconds: "4", not "4.0"."""
    return str(int(value)) if value == int(value) else repr(value)
