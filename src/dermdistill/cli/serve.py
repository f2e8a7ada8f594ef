"""`dermdistill serve` and `dermdistill serve-key`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from dermdistill import talk
from dermdistill.cli.options import ModelOption, ThresholdOption, WhenDamaged

app = typer.Typer()
LIMITS, KEYS = "Limits", "Keys and browsers"


@app.command()
def serve(
    model: ModelOption = None,
    host: Annotated[str, typer.Option(help="The address to listen on; others reach it only if you change it.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free port.")] = 8000,
    threshold: ThresholdOption = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads of the runtime.")] = None,
    decoders: Annotated[int, typer.Option(min=1, help="Threads that decode images.")] = 2,
    batch_size: Annotated[int, typer.Option(min=1, help="The most images of a forward pass.")] = 16,
    damaged: Annotated[
        WhenDamaged, typer.Option(help="Whether damaged images are refused or get a probability.")
    ] = WhenDamaged.refuse,
    open: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    keys: Annotated[
        Path | None, typer.Option(help="A file of hashed keys, from `serve-key`.", rich_help_panel=KEYS)
    ] = None,
    cors: Annotated[
        list[str] | None,
        typer.Option(help="An origin whose pages may call the service; may be repeated.", rich_help_panel=KEYS),
    ] = None,
    max_images: Annotated[int, typer.Option(min=1, help="Images of a request.", rich_help_panel=LIMITS)] = 16,
    max_megabytes: Annotated[float, typer.Option(min=0.001, help="Of a request.", rich_help_panel=LIMITS)] = 20,
    max_megapixels: Annotated[
        float, typer.Option(min=0.001, max=100, help="Of an image.", rich_help_panel=LIMITS)
    ] = 50,
    max_requests: Annotated[
        int, typer.Option(min=1, help="Predictions in progress at once.", rich_help_panel=LIMITS)
    ] = 32,
    max_queue: Annotated[int, typer.Option(min=1, help="Images in work at once.", rich_help_panel=LIMITS)] = 128,
    read_timeout: Annotated[
        float, typer.Option(min=0.1, help="Seconds for a request's body.", rich_help_panel=LIMITS)
    ] = 30,
    answer_timeout: Annotated[
        float, typer.Option(min=0.1, help="Seconds from a body to its answer.", rich_help_panel=LIMITS)
    ] = 30,
    shutdown_timeout: Annotated[
        int, typer.Option(min=1, help="Seconds for accepted requests at the end.", rich_help_panel=LIMITS)
    ] = 30,
) -> None:
    """Answer HTTP requests with a model: POST /v1/predict, GET /v1/model, and a page.

    Nobody but this machine reaches it unless --host says so. Logs go to standard output as lines of JSON. It ends on
    Ctrl-C or SIGTERM, after the requests that it has accepted.
    """
    import webbrowser

    from dermdistill.predict.predictor import Predictor
    from dermdistill.serve import server
    from dermdistill.serve.app import create_app
    from dermdistill.serve.settings import Limits, Settings
    from dermdistill.serve.site import content_security_policy, page_files
    from dermdistill.serve.static import Page

    body_bytes = round(max_megabytes * 1e6)
    limits = Limits(
        images=max_images, body_bytes=body_bytes, memory_bytes=10 * body_bytes, pixels=round(max_megapixels * 1e6),
        requests=max_requests, queue=max(max_queue, max_images), read_seconds=read_timeout,
        answer_seconds=answer_timeout, shutdown_seconds=shutdown_timeout,
    )  # fmt: skip
    settings = Settings(
        host=host, port=port, batch_size=batch_size, decoders=decoders, keys=keys, cors=tuple(cors or ()), limits=limits
    )
    predictor = Predictor(model, threshold=threshold, threads=threads, damaged=damaged.value)
    page = Page(page_files(predictor.bundle), content_security_policy())
    service = create_app(predictor, settings, page)
    with server.listen(settings) as listening:
        _greet(predictor, settings, server.address(listening))
        if open:
            webbrowser.open(server.address(listening))
        server.run(service, settings, listening)


def _greet(predictor: Any, settings: Any, address: str) -> None:
    talk.note(predictor.bundle.spec.intended_use)
    if not settings.is_local and settings.keys is None:
        talk.warn(f"warning: everybody who reaches {settings.host} is answered; ask for keys with --keys")
    talk.note(f"serving {predictor.bundle.spec.name} on {address}")


@app.command()
def serve_key(
    name: Annotated[str, typer.Argument(help="Whose key it is; stands in logs.")],
    keys: Annotated[Path, typer.Option(help="The file that gets the key's hash.")] = Path("keys.txt"),
) -> None:
    """Make a key for the service: its hash goes into a file, the key to standard output, once."""
    from dermdistill.cli.stdout import printing
    from dermdistill.serve.keys import add_key

    key = add_key(keys, name)
    talk.note(f"the hash of the key is in {keys}; the key itself is kept nowhere, so note it now")
    with printing():
        typer.echo(key)
