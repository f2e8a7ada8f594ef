"""The interface, version 1: predictions and the facts of the model."""

from fastapi import APIRouter, Depends, Request, Response

from dermdistill.errors import InputError
from dermdistill.predict.predictor import FAILED, REFUSED, Result, decide, resolve_threshold
from dermdistill.serve.errors import Refused
from dermdistill.serve.facts import card, model_facts, model_name, named_threshold
from dermdistill.serve.openapi import ANSWER_EXAMPLE, REQUEST_BODY, problems
from dermdistill.serve.schemas import ImageAnswer, ModelOut, PredictOut, ThresholdUsed
from dermdistill.serve.service import Service, Shared, authorised
from dermdistill.serve.uploads import Asked, read_request

router = APIRouter(prefix="/v1", dependencies=[Depends(authorised)])


@router.post(
    "/predict",
    summary="Melanoma probabilities of images",
    openapi_extra={"requestBody": REQUEST_BODY},
    responses={
        200: {"content": {"application/json": {"example": ANSWER_EXAMPLE}}},
        **problems(400, 401, 408, 413, 415, 422, 500, 503),
    },
)
async def predict(request: Request, service: Shared) -> PredictOut:
    """One or several images, as a form or in base64 within JSON; their answers come in the same order.

    An image that cannot be used gets an entry that says why, and the others are answered. If none can be used, the
    status is 422. An image that the model's gate refuses has the status 'refused' and no probability, or one beside
    the reasons if the operator serves with --gate judge. Images are held in memory while they are judged, and nowhere
    else.
    """
    about = request.state.about
    with service.admission.one() as body:
        asked = await read_request(request, body)
        about.update(images=len(asked.images), bytes=body.taken)
        threshold = _threshold(service, asked)
        results = await service.pipeline.judge(asked.images)
    for result in results:
        service.metrics.images.labels(result.status).inc()
    answers = [_answer(at, result, threshold.value, service) for at, result in enumerate(results)]
    if all(answer.p_melanoma is None for answer in answers):
        raise _none_usable(answers)
    return PredictOut(model=model_name(service.predictor.bundle), threshold=threshold, results=answers)


def _threshold(service: Service, asked: Asked) -> ThresholdUsed:
    predictor, given = service.predictor, asked.threshold
    if given is None or given == "":
        return named_threshold(predictor.bundle, predictor.threshold)
    try:
        value = resolve_threshold(predictor.bundle, given)
    except InputError:
        names = ", ".join(predictor.bundle.spec.thresholds)
        raise Refused(
            422,
            "threshold",
            came=f"the threshold '{str(given)[:80]}'",
            expected=f"{names}, or a number from 0 to 1",
            remedy="leave it out for the service's own; /v1/model lists the model's thresholds",
        ) from None
    return ThresholdUsed(name=given if given in predictor.bundle.spec.thresholds else None, value=value)


def _answer(index: int, result: Result, threshold: float, service: Service) -> ImageAnswer:
    p, classes = result.p_melanoma, service.predictor.classes
    return ImageAnswer(
        index=index,
        file=result.file,
        status=result.status,
        p_melanoma=p,
        decision=None if p is None else decide(p, threshold),
        probabilities=dict(zip(classes, result.probabilities, strict=True)) if result.probabilities else None,
        quality=result.quality,
        message=result.message,
    )


def _none_usable(answers: list[ImageAnswer]) -> Refused:
    if any(answer.status == FAILED for answer in answers):
        return Refused(
            500,
            "model",
            came="a model that gave no probabilities",
            expected="probabilities of the classes",
            remedy="tell the operator: the service's bundle is broken",
            images=answers,
        )
    if all(answer.status == REFUSED for answer in answers):
        return Refused(
            422,
            "refused-image",
            came=answers[0].message if len(answers) == 1 else f"{len(answers)} images that the model's gate refuses",
            expected="at least one dermoscopic image, sharp and well lit",
            remedy="take the picture again; 'images' says of each why it is refused. An operator who wants answers "
            "nonetheless serves with --gate judge",
            images=answers,
        )
    told = answers[0].message if len(answers) == 1 else f"{len(answers)} images of which none can be used"
    return Refused(
        422,
        "unreadable-image",
        came=told,
        expected="at least one image that can be used",
        remedy="mend or leave out the images that 'images' names; it says of each what is wrong",
        images=answers,
    )


@router.get("/model", summary="The facts of the model", responses=problems(401))
async def model(service: Shared) -> ModelOut:
    """Classes, thresholds with their figures, figures on held-out images, data, licence, gate, and the limits."""
    return model_facts(service.predictor, service.settings.limits)


@router.get(
    "/model/card",
    summary="The model card",
    response_class=Response,
    responses={
        200: {"content": {"text/markdown": {"schema": {"type": "string"}}}, "description": "The card."},
        **problems(401, 404),
    },
)
async def model_card(service: Shared) -> Response:
    """The model card in Markdown, whole."""
    text = card(service.predictor.bundle)
    if not text:
        raise Refused(
            404,
            "no-card",
            came="a question for the card of a bundle that has none",
            expected="a bundle with a card",
            remedy="/v1/model has the facts of the model",
        )
    return Response(text, media_type="text/markdown; charset=utf-8")
