"""Fields of a create request, from multipart or JSON, to one generation request. Values in, values out."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from reelworks.config import fingerprint
from reelworks.errors import UserError
from reelworks.generate.request import Defaults, GenerationRequest, Limits, Strides, num_tokens, validate
from serving.errors import invalid

MAX_PROMPT_CHARS = 32_000
MODEL, PROMPT = "model", "prompt"
KNOWN = (PROMPT, MODEL, "size", "seconds", "fps", "seed", "guidance_scale", "steps")
# Fields of the specification that ask for an ability this model doesn't have.
UNSUPPORTED = ("input_reference",)
_SIZE = re.compile(r"([0-9]{1,6})x([0-9]{1,6})")
_INTEGER = re.compile(r"-?[0-9]{1,20}")


@dataclass(frozen=True)
class CreateFields:
    """What the client gave; None where it said nothing."""

    prompt: str
    model: str | None = None
    width: int | None = None
    height: int | None = None
    seconds: float | None = None
    fps: float | None = None
    seed: int | None = None
    steps: int | None = None
    guidance: float | None = None

    @property
    def digest(self) -> str:
        """Equal for equal fields, however they were written on the wire."""
        return fingerprint(asdict(self))


def form_values(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """The fields of a form as a mapping; a name given twice, or a file where text belongs, is refused.

    Names with brackets (`input_reference[image_url]`) count under their first part.
    """
    values: dict[str, Any] = {}
    for name, value in pairs:
        name = name.partition("[")[0]
        if name in values and name not in UNSUPPORTED:
            raise invalid(name, f"Field {name!r} was given twice.")
        if not isinstance(value, str) and name in KNOWN:
            raise invalid(name, f"Field {name!r} must be text, not a file.")
        values[name] = value
    return values


def parse_create(values: Any) -> CreateFields:
    """The fields of a create request. Raises ApiError 400 naming the field and what was expected."""
    if not isinstance(values, Mapping):
        raise invalid(None, "The body must be an object with a 'prompt'.")
    for name in values:
        if name in UNSUPPORTED:
            raise invalid(
                name, f"The served model makes videos from text alone; {name!r} can't be given.", "unsupported"
            )
        if name not in KNOWN:
            near = difflib.get_close_matches(str(name), KNOWN, n=1)
            raise invalid(
                str(name), f"Unknown parameter: {str(name)!r}." + (f" Did you mean {near[0]!r}?" if near else "")
            )
    width, height = _size(values.get("size"))
    return CreateFields(
        prompt=_prompt(values.get(PROMPT)),
        model=_text(MODEL, values.get(MODEL)),
        width=width,
        height=height,
        seconds=_number("seconds", values.get("seconds")),
        fps=_number("fps", values.get("fps")),
        seed=_integer("seed", values.get("seed")),
        steps=_integer("steps", values.get("steps")),
        guidance=_number("guidance_scale", values.get("guidance_scale")),
    )


def settle(fields: CreateFields, defaults: Defaults, limits: Limits, strides: Strides, seed: int) -> GenerationRequest:
    """The request with the checkpoint's defaults in place of what was omitted. ApiError 400 naming the limits."""
    given = {name: value for name, value in asdict(fields).items() if value is not None and name != MODEL}
    request = defaults.request(**{"seed": seed, **given})
    try:
        validate(request, limits, strides)
    except UserError as error:
        raise invalid(_param(error.message), str(error), "out_of_limits") from error
    return request


def cost(request: GenerationRequest, strides: Strides) -> int:
    """Work of a request: tokens × steps."""
    return num_tokens(request, strides) * request.steps


def _param(message: str) -> str:
    """The API's name of the field that a message of `validate` begins with; sizes otherwise."""
    names = {"fps": "fps", "steps": "steps", "guidance": "guidance_scale", "seconds": "seconds", "seed": "seed"}
    return names.get(message.split()[0], "size")


def _prompt(value: Any) -> str:
    text = _text(PROMPT, value)
    if text is None or not text.strip():
        raise invalid(PROMPT, "Missing required parameter: 'prompt'.")
    if len(text) > MAX_PROMPT_CHARS:
        raise invalid(PROMPT, f"'prompt' has {len(text)} characters; at most {MAX_PROMPT_CHARS} are accepted.")
    return text


def _text(name: str, value: Any) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise invalid(name, f"{name!r} must be a string, not {type(value).__name__}.")
    try:
        value.encode()
    except UnicodeEncodeError as error:  # JSON can spell half a surrogate pair, UTF-8 can't
        raise invalid(name, f"{name!r} is not valid Unicode text.") from error
    if "\0" in value:
        raise invalid(name, f"{name!r} contains a NUL character.")
    return value


def _size(value: Any) -> tuple[int | None, int | None]:
    text = _text("size", value)
    if text is None:
        return None, None
    match = _SIZE.fullmatch(text)
    if match is None:
        raise invalid("size", f"'size' must be WIDTHxHEIGHT in pixels, such as 48x32, not {text[:40]!r}.")
    return int(match.group(1)), int(match.group(2))


def _number(name: str, value: Any) -> float | None:
    if value is None:
        return None
    problem = invalid(name, f"{name!r} must be a number, not {str(value)[:40]!r}.")
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise problem
    try:
        number = float(value)
    except (ValueError, OverflowError):
        raise problem from None
    if not math.isfinite(number):
        raise problem
    return number


def _integer(name: str, value: Any) -> int | None:
    if value is None:
        return None
    problem = invalid(name, f"{name!r} must be a whole number, not {str(value)[:40]!r}.")
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    raise problem
