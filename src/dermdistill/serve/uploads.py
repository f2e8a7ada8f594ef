"""The images of a request, from multipart/form-data or from JSON; they stay in memory."""

import asyncio
import base64
import binascii
import re
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from pydantic import ValidationError
from starlette.datastructures import FormData, Headers, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from dermdistill.serve.errors import Refused
from dermdistill.serve.limits import Body
from dermdistill.serve.schemas import PredictIn

MULTIPART, JSON = "multipart/form-data", "application/json"
FORM = "a form with image files in the field 'images', and perhaps a field 'threshold'"
_LONGEST_NAME = 255


@dataclass(frozen=True)
class Upload:
    """The bytes of an image file, and the name that came with them."""

    name: str
    content: bytes


@dataclass(frozen=True)
class Asked:
    """What a request asks for."""

    images: list[Upload]
    threshold: str | float | None


async def read_request(request: Request, body: Body) -> Asked:
    """Read what a request asks for.

    Args:
        request: its body is not read yet.
        body: the body's place among all.

    Raises:
        Refused: the body is of another kind, malformed, too large, too slow, or holds no or too many images.
        ClientDisconnect: the client has left.
    """
    most = body.admission.limits.images
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding != "identity":
        raise Refused(
            415,
            "content-encoding",
            came=f"a body in the encoding {encoding[:40]}",
            expected="a body as it is",
            remedy="send the request without Content-Encoding; image files are compressed already",
        )
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == MULTIPART:
        async with body.in_time():
            asked = await _read_form(request.headers, body.stream(request), most)
    elif kind == JSON:
        async with body.in_time():
            content = b"".join([chunk async for chunk in body.stream(request)])
        asked = await asyncio.to_thread(_read_json, content)
    else:
        raise Refused(
            415,
            "content-type",
            came=f"the type {kind[:80] or 'none'}",
            expected=f"{MULTIPART} or {JSON}",
            remedy="send the images as a form (curl -F images=@photo.jpg) or in base64 within JSON",
        )
    if len(asked.images) > most:
        raise _too_many(len(asked.images), most)
    return asked


class _InMemory(MultiPartParser):
    """Starlette's parser, which writes no temporary files and knows whether the form was whole."""

    spool_max_size = 0  # SpooledTemporaryFile takes 0 for no limit; that of the body holds
    ended = False

    def on_end(self) -> None:
        self.ended = True


async def _read_form(headers: Headers, stream: AsyncGenerator[bytes, None], most: int) -> Asked:
    parser = _InMemory(headers, stream, max_files=most, max_fields=1, max_part_size=1000)
    try:
        form = await parser.parse()
    except MultiPartException as error:
        if error.message.startswith("Too many files"):
            raise _too_many(most + 1, most) from None
        raise _malformed(error.message) from None
    try:
        if not parser.ended:
            raise _malformed("the form ends before its last boundary")
        return await _asked_of(form)
    finally:
        await form.close()


async def _asked_of(form: FormData) -> Asked:
    images, threshold = [], None
    for name, value in form.multi_items():
        if name == "images" and isinstance(value, UploadFile):
            images.append(Upload(clean_name(value.filename or ""), await value.read()))
        elif name == "threshold" and isinstance(value, str):
            threshold = value
        else:
            kind = "file" if isinstance(value, UploadFile) else "text"
            raise Refused(
                422,
                "field",
                came=f"the field '{clean_name(name)}' with a {kind}",
                expected=FORM,
                remedy="name the field of each file 'images', as curl -F images=@photo.jpg does",
            )
    if not images:
        raise Refused(
            422, "no-image", came="a form without an image", expected=FORM, remedy="add one: curl -F images=@photo.jpg"
        )
    return Asked(images, threshold)


def _read_json(content: bytes) -> Asked:
    try:
        given = PredictIn.model_validate_json(content)
    except ValidationError as error:
        findings = error.errors(include_url=False, include_input=False, include_context=False)
        if findings[0]["type"] == "json_invalid":
            raise Refused(
                400,
                "malformed",
                came=f"a body that is not JSON ({findings[0]['msg']})",
                expected=f"{JSON}",
                remedy="check the body; /openapi.json has an example",
            ) from None
        told = "; ".join(f"{'.'.join(map(str, one['loc'])) or 'body'}: {one['msg']}" for one in findings[:5])
        raise Refused(
            422,
            "body",
            came=f"JSON that does not fit ({told})",
            expected="an object with 'images', a list of objects with 'data' in base64, and perhaps 'threshold'",
            remedy="check the keys that are named; /openapi.json has an example",
        ) from None
    images = [Upload(clean_name(one.name), _bytes_of(one.data, at)) for at, one in enumerate(given.images)]
    return Asked(images, given.threshold)


def _bytes_of(data: str, at: int) -> bytes:
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Refused(
            422,
            "base64",
            came=f"images.{at}.data is not base64 ({error})",
            expected="the bytes of an image file in base64, without line breaks and without 'data:'",
            remedy="encode the file: base64 -w0 photo.jpg",
        ) from None


def clean_name(name: str) -> str:
    """The last part of a client's file name, without what cannot be shown."""
    last = re.split(r"[/\\]", name)[-1]
    return "".join(letter for letter in last if letter.isprintable())[:_LONGEST_NAME]


def _malformed(told: str) -> Refused:
    return Refused(
        400,
        "malformed",
        came=f"a form that cannot be read: {told}",
        expected=FORM,
        remedy="let a library make the form, or curl -F images=@photo.jpg",
    )


def _too_many(count: int, most: int) -> Refused:
    return Refused(
        422,
        "too-many-images",
        came=f"{count} images or more",
        expected=f"at most {most} images in a request",
        remedy="send them in several requests",
    )
