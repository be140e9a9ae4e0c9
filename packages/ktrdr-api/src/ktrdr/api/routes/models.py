"""Trained models: list, inspect, verify, delete, download and upload them, without an ML framework."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.responses import FileResponse
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool

from ktrdr.api.http.downloads import FILE, temporary_file
from ktrdr.api.http.problems import Problem
from ktrdr.api.http.security import changes_nothing
from ktrdr.api.http.uploads import one_of_few, receive
from ktrdr.api.services import Opened
from ktrdr.core.limits import LARGEST_VERSION
from ktrdr.core.models.manifest import Manifest
from ktrdr.core.names import NAME_PATTERN

if TYPE_CHECKING:
    from ktrdr.core.models.bundle import Bundle
    from ktrdr.core.models.model_store import ModelStore
    from ktrdr.core.trials.trial_ledger import TrialLedger

__all__ = ["model_store", "router"]

router = APIRouter(tags=["models"])

_NAME = f"^{NAME_PATTERN}$"
ModelName = Annotated[str, Path(pattern=_NAME, examples=["rsi_reversion"])]
Version = Annotated[int, Path(ge=1, le=LARGEST_VERSION)]

_MISSING: dict[int | str, dict[str, Any]] = {404: {"model": Problem, "description": "There is no such model"}}


class ModelSummary(BaseModel):
    """One model; a damaged one has only ``model`` and ``problem``.

    ``origin`` of an uploaded model is its name and version on the machine that trained it. ``members`` is the number
    of members of an ensemble, 0 for any other model; ``model_type`` is then the type of each member.
    """

    model: str
    origin: str | None = None
    created: dt.datetime | None = None
    model_type: str | None = None
    members: int = 0
    plugin: str | None = None
    output: str | None = None
    symbols: list[str] = []
    input_size: int | None = None
    weights_hash: str | None = None
    problem: str = ""


class ModelDetail(BaseModel):
    """The manifest of a model, its strategy file, and the metrics of its training per epoch.

    ``history`` is empty for an ensemble, whose members were trained one by one: the archive of the model has theirs.
    ``chosen_among`` is the number of settings in the largest sweep that contains the strategy of the model.
    """

    manifest: Manifest
    weights_hash: str
    strategy_text: str
    history: list[dict[str, Any]]
    chosen_among: int | None


class Verified(BaseModel):
    """The model is intact: every file agrees with the manifest."""

    model: str
    files: int


async def model_store(opened: Opened) -> ModelStore:
    """Return the model store of the server."""
    from ktrdr.core.models.model_store import ModelStore

    return ModelStore(opened.home / "models")


if TYPE_CHECKING:
    Store = Annotated[ModelStore, Depends(model_store)]
else:
    # FastAPI does not need the type, whose import would load numpy.
    Store = Annotated[Any, Depends(model_store)]


def _summary(manifest: Manifest) -> ModelSummary:
    return ModelSummary(
        model=manifest.ref,
        origin=manifest.origin,
        created=manifest.created,
        model_type=manifest.model_type,
        members=len(manifest.member_directories),
        plugin=manifest.plugin.name,
        output=manifest.output,
        symbols=list(manifest.data.symbols),
        input_size=manifest.input_size,
        weights_hash=manifest.weights_hash,
    )


@router.get("/models")
def list_models(store: Store, name: Annotated[str | None, Query(pattern=_NAME)] = None) -> list[ModelSummary]:
    """List all models, or those of one name."""
    return [
        ModelSummary(model=entry.ref, problem=entry.problem) if entry.manifest is None else _summary(entry.manifest)
        for entry in store.list(name)
    ]


@router.get("/models/{name}/{version}", responses=_MISSING)
def get_model(name: ModelName, version: Version, store: Store, opened: Opened) -> ModelDetail:
    """Return the details of one model."""
    return _detail(store.get(f"{name}/{version}"), opened.trials)


def _detail(bundle: Bundle, trials: TrialLedger) -> ModelDetail:
    from ktrdr.core.strategy.choice import choice_hash

    return ModelDetail(
        manifest=bundle.manifest,
        weights_hash=bundle.manifest.weights_hash,
        strategy_text=bundle.strategy_text,
        history=[{"epoch": record.epoch, **record.metrics} for record in bundle.history()],
        chosen_among=trials.chosen_among(choice_hash(bundle.manifest.strategy)),
    )


@router.post("/models/{name}/{version}/verify", responses=_MISSING)
@changes_nothing
def verify_model(name: ModelName, version: Version, store: Store) -> Verified:
    """Check every byte of a model against its manifest."""
    from ktrdr.core.models.apart import verify_apart

    ref = verify_apart(store.root, f"{name}/{version}")
    return Verified(model=ref, files=len(store.get(ref).manifest.files))


@router.delete("/models/{name}/{version}", status_code=204, responses=_MISSING)
def delete_model(name: ModelName, version: Version, store: Store) -> None:
    """Delete one model."""
    store.delete(f"{name}/{version}")


@router.get(
    "/models/{name}/{version}/archive",
    response_class=FileResponse,
    responses={200: {"content": {"application/zip": FILE}, "description": "The bundle as a zip file"}, **_MISSING},
)
def download_model(name: ModelName, version: Version, store: Store) -> FileResponse:
    """Download a model as a zip file; the same model always gives the same bytes."""
    from ktrdr.core.models.apart import export_apart

    return temporary_file(
        lambda path: export_apart(store.root, f"{name}/{version}", path),
        filename=f"{name}-{version}.zip",
        media_type="application/zip",
    )


@router.post(
    "/models",
    status_code=201,
    openapi_extra={"requestBody": {"required": True, "content": {"application/zip": FILE}}},
    responses={200: {"model": ModelSummary, "description": "The model is stored already; nothing was added"}},
)
async def upload_model(request: Request, response: Response, store: Store) -> ModelSummary:
    """Store the model in the zip file of the body.

    The model is verified before it becomes visible, and gets the next version of its name. A model that is stored
    already is not added again: the status is then 200, and the response names the stored one.
    """
    from ktrdr.core.models.apart import import_apart

    async with receive(request, "model.zip") as path:
        ref, added = await one_of_few(request.app.state, import_apart, store.root, path)
    if not added:
        response.status_code = 200
    return _summary((await run_in_threadpool(store.get, ref)).manifest)
