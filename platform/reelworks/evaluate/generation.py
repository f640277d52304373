"""The generate verb: a file of prompts becomes MP4s in the bucket, by the same path as the endpoint."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from reelworks import storage
from reelworks.config import Recipe, Section
from reelworks.errors import UserError
from reelworks.evaluate.sampling import Workers, sample


class Ask(Section):
    """One video to make; what is None takes the checkpoint's own default."""

    prompt: str
    """What the video shows."""
    width: int | None = None
    """Width in px."""
    height: int | None = None
    """Height in px."""
    seconds: float | None = None
    """Duration in seconds."""
    fps: float | None = None
    """Frames a second."""
    seed: int = 0
    """Seed of the noise and of the expansion."""
    steps: int | None = None
    """Sampling steps."""
    guidance: float | None = None
    """Text guidance scale; 1 is none."""


class GenerateRecipe(Recipe):
    """Offline batch generation."""

    dit: str
    """Model source of the DiT checkpoint (its VAE and text encoder are named inside)."""
    expander: str | None = None
    """Model source of the expander; null samples the prompts as they stand."""
    prompts: tuple[Ask, ...] = ()
    """What to make; give this or prompts_uri."""
    prompts_uri: str | None = None
    """A JSON Lines object in the bucket with one request a line; give this or prompts."""
    output: str
    """Bucket prefix of the videos; a rerun of the same requests makes no second copy."""
    workers: Workers = Workers()
    """The sampling actors."""

    def writes(self) -> Sequence[str]:
        return [self.output]


def read_asks(recipe: GenerateRecipe) -> list[Ask]:
    """The requests of the recipe or of its JSON Lines object. Raises UserError naming the bad line."""
    if bool(recipe.prompts) == bool(recipe.prompts_uri):
        raise UserError("Give either prompts or prompts_uri, not both", "See recipes/laptop/generate.yaml")
    if recipe.prompts_uri is None:
        return list(recipe.prompts)
    asks = []
    for number, line in enumerate(storage.get_bytes(recipe.prompts_uri).decode().splitlines(), 1):
        if line.strip():
            try:
                asks.append(Ask.model_validate(json.loads(line)))
            except ValueError as error:
                raise UserError(f"{recipe.prompts_uri} line {number} is no request: {error}") from error
    return asks


class VideoWriter:
    """Actor: rows of requests in; one MP4 each written under its request's digest; rows with the URI out."""

    def __init__(self, dit: str, expander: str | None, output: str, num_threads: int):
        from reelworks.evaluate.studio import Studio

        self.studio = Studio.open(dit, expander, num_threads)
        self.output = output.rstrip("/")

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        from reelworks.config import fingerprint
        from reelworks.generate.export import to_mp4

        asks = [Ask.model_validate_json(text) for text in batch["request"]]
        uris, revised, errors = [], [], []
        for ask, take in zip(asks, self.studio.shoot(asks), strict=True):
            uri = f"{self.output}/{fingerprint([ask, self.studio.fingerprint])}.mp4"
            if take.frames is not None:
                storage.create_once(uri, to_mp4(take.frames, take.fps))
            uris.append(uri if take.frames is not None else "")
            revised.append(take.prompt)
            errors.append(take.error)
        return {"index": batch["index"], "uri": uris, "revised_prompt": revised, "error": errors}


def generate(recipe: GenerateRecipe, run: Any) -> dict[str, Any]:
    """Makes every video; requests that a model can't serve are listed with their reason, the others are made."""
    from reelworks.resolve import pin

    asks = read_asks(recipe)
    arguments = {
        "dit": pin(recipe.dit),
        "expander": pin(recipe.expander) if recipe.expander else None,
        "output": recipe.output,
    }
    done = sample([{"request": ask.model_dump_json()} for ask in asks], VideoWriter, arguments, recipe.workers)
    table = [
        {"prompt": ask.prompt, "revised_prompt": row["revised_prompt"], "uri": row["uri"], "error": row["error"]}
        for ask, row in zip(asks, done, strict=True)
    ]
    run.json(table, "videos.json")
    refused = [row for row in table if row["error"]]
    for row in refused:
        print(f"refused: {row['prompt']!r}: {row['error']}")
    return {"requests": len(asks), "videos": len(asks) - len(refused), "refused": len(refused)}
