"""The dashboard over HTTP: pages, panels, and news of them."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

import anyio
import bokeh
from bokeh.embed import json_item
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from dashboard.choice import FILTERS, INTERVALS, BadChoice, Choice, read_choice
from dashboard.content import SPARK
from dashboard.lakehouse import Lakehouse, MissingTable
from dashboard.metrics import PLAYBACK
from dashboard.panels import PAGES, PANELS, build
from dashboard.question import Question
from dashboard.schemes import SCHEMES, theme_of

if TYPE_CHECKING:
    from starlette.requests import Request

HERE = Path(__file__).parent
BOKEH_JS = Path(bokeh.__file__).parent / "server" / "static" / "js"
HOSTS = ["127.0.0.1", "localhost", "[::1]"]
QUESTIONS_AT_ONCE = 3
LOOK_SECONDS = 1.0
BEAT_SECONDS = 15.0
# Bokeh writes style elements; scripts come from here alone, and are never text of the page.
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'self'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
TITLES = {
    "/": "Network operations",
    "/live": "Live",
    "/player": "Player",
    "/games": "Games",
    "/models": "Models",
    "/stocks": "Stocks",
}

log = logging.getLogger(__name__)


def create_app(lakehouse: Lakehouse, stopping: Event | None = None) -> WithHeaders:
    """The application that shows a lakehouse; streams of news end once `stopping` is set."""
    dashboard = Dashboard(lakehouse, stopping or Event())
    app = Starlette(
        routes=[
            *(Route(path, dashboard.page, methods=["GET"]) for path in PAGES),
            Route("/choices", dashboard.choices, methods=["GET"]),
            Route("/panels/{name}", dashboard.panel, methods=["GET"]),
            Route("/news", dashboard.news, methods=["GET"]),
            Route("/healthz", health, methods=["GET"]),
            Mount("/static/bokeh", StaticFiles(directory=BOKEH_JS)),
            Mount("/static", StaticFiles(directory=HERE / "static")),
        ],
        middleware=[
            Middleware(TrustedHostMiddleware, allowed_hosts=HOSTS),
        ],
        exception_handlers={
            BadChoice: dashboard.refuse,
            HTTPException: dashboard.refuse,
            Exception: dashboard.refuse,
        },
    )
    return WithHeaders(app)


async def health(_: Request) -> Response:
    """For who asks whether it runs."""
    return Response("ok\n", media_type="text/plain")


class Dashboard:
    """What the routes answer."""

    def __init__(self, lakehouse: Lakehouse, stopping: Event) -> None:
        self._lakehouse = lakehouse
        self._stopping = stopping
        self._at_once = anyio.CapacityLimiter(QUESTIONS_AT_ONCE)
        self._templates = Environment(
            loader=FileSystemLoader(HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    async def page(self, request: Request) -> Response:
        """A page without its panels, which come one by one."""
        path = request.url.path
        choice = read_choice(request.query_params)
        return self._html(
            "page.html",
            path=path,
            title=TITLES[path],
            panels={name: PANELS[name] for name in PAGES[path]},
            choice=choice,
            filters=FILTERS,
            intervals=INTERVALS,
            metrics=PLAYBACK,
            has_tables=self._lakehouse.has_tables(),
        )

    async def choices(self, request: Request) -> Response:
        """By filter, the values that there are in the interval."""
        choice = read_choice(request.query_params)
        return JSONResponse(await self._aside(_choices, self._lakehouse, choice))

    async def panel(self, request: Request) -> Response:
        """A panel as JSON: state, html, and the chart that Bokeh is to put into it, or null."""
        name = request.path_params["name"]
        if name not in PANELS:
            raise HTTPException(404)
        scheme = request.query_params.get("scheme", "light")
        if scheme not in SCHEMES:
            raise BadChoice(f"scheme: choose one of {', '.join(SCHEMES)}")
        choice = read_choice(request.query_params)
        return await self._aside(self._answer_panel, name, choice, scheme)

    async def news(self, request: Request) -> Response:
        """Server-sent events of the panels that ?panels= names."""
        names = [name for name in request.query_params.get("panels", "").split(",") if name]
        if not names or not set(names) <= PANELS.keys():
            raise BadChoice("panels: name the panels of which there may be news")
        told = news(self._lakehouse, names, self._stopping)
        return StreamingResponse(told, media_type="text/event-stream")

    async def refuse(self, request: Request, error: Exception) -> Response:
        """What a person is told of an error: never more than they can mend."""
        status, message = 500, "That went wrong. The log of the dashboard says why."
        if isinstance(error, BadChoice):
            status, message = 400, str(error)
        elif isinstance(error, HTTPException):
            status, message = error.status_code, error.detail
        if request.url.path.startswith("/panels/"):
            return JSONResponse({"state": "error", "message": message}, status)
        return self._html("refusal.html", status, path="", title=f"Error {status}", message=message)

    async def _aside(self, work: Callable[..., Any], *arguments: Any) -> Any:
        return await anyio.to_thread.run_sync(work, *arguments, limiter=self._at_once)

    def _answer_panel(self, name: str, choice: Choice, scheme: str) -> Response:
        content = build(name, Question(self._lakehouse, choice, scheme))
        html = self._templates.get_template("panel.html").render(content=content, spark=SPARK)
        drawn = content.chart
        chart = None if drawn is None else json_item(drawn, theme=theme_of(scheme))
        return JSONResponse({"state": content.state, "html": html, "chart": chart})

    def _html(self, template: str, status: int = 200, **values: Any) -> Response:
        html = self._templates.get_template(template).render(titles=TITLES, **values)
        return HTMLResponse(html, status)


def _choices(lakehouse: Lakehouse, choice: Choice) -> dict[str, list[str]]:
    """By filter, the values that there are in the interval."""
    try:
        rows = Question(lakehouse, choice).of_interval("choices")
    except MissingTable:
        return {}
    return {
        name: [row["value"] for row in rows if row["name"] == column]
        for name, (column, _) in FILTERS.items()
    }


async def news(lakehouse: Lakehouse, names: list[str], stopping: Event) -> AsyncIterator[str]:
    """Server-sent events: the name of each panel, whenever a table that it reads has changed."""
    seen: dict[str, Any] = {}
    quiet = 0.0
    yield "retry: 2000\n\n"
    while not stopping.is_set():
        for name in names:
            versions = await anyio.to_thread.run_sync(
                lambda panel=PANELS[name]: [lakehouse.versions(each) for each in panel.queries]
            )
            if name in seen and seen[name] != versions:
                yield f"event: news\ndata: {json.dumps(name)}\n\n"
                quiet = 0.0
            seen[name] = versions
        if quiet >= BEAT_SECONDS:
            yield "event: beat\ndata: 0\n\n"
            quiet = 0.0
        await asyncio.sleep(LOOK_SECONDS)
        quiet += LOOK_SECONDS


class WithHeaders:
    """Puts HEADERS on every answer, errors too."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def send_with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                headers = [*message.get("headers", [])]
                headers += [
                    (name.lower().encode(), value.encode()) for name, value in HEADERS.items()
                ]
                if not any(name == b"cache-control" for name, _ in headers):
                    headers.append((b"cache-control", b"no-cache"))
                message = {**message, "headers": headers}
            await send(message)

        await self._app(scope, receive, send_with_headers)
