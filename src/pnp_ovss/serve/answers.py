"""What the service answers: a result as JSON with masks, and the page that describes the interface."""

from __future__ import annotations

import html
from typing import Any

from pnp_ovss.segmentation import Segmentation


def to_json(result: Segmentation) -> dict[str, Any]:
    """`Segmentation.to_dict`, and for each class that was found `rle` (COCO's) and `polygons`.

    polygons: a list of regions, each its outer ring and then its holes, each ring [[x, y], ...] of corners between pixels.
    """
    record = result.to_dict()
    for entry in record["classes"]:
        if entry["share"] or entry["name"] in result:
            entry["rle"] = result.rle(entry["name"])
            regions = result.polygons(entry["name"])
            entry["polygons"] = [[ring.tolist() for ring in (region.outer, *region.holes)] for region in regions]
    return record


def describe(schema: dict[str, Any]) -> str:
    """HTML of an OpenAPI schema: every operation with its fields, without anything from another host."""
    operations = [
        _operation(f"{method.upper()} {path}", operation, schema)
        for path, methods in schema["paths"].items()
        for method, operation in methods.items()
    ]
    title, text = html.escape(schema["info"]["title"]), html.escape(schema["info"].get("description", ""))
    style = "body{font:16px/1.5 system-ui,sans-serif;max-width:50rem;margin:2rem auto;padding:0 1rem;color-scheme:light dark}"
    head = f"<meta name='viewport' content='width=device-width'><title>{title}</title><style>{style}</style>"
    more = "<p>The same for programs: <a href='openapi.json'>openapi.json</a></p>"
    return (
        f"<!doctype html><html lang='en'><head>{head}</head><body><h1>{title}</h1><p>{text}</p>"
        f"{more}{''.join(operations)}</body></html>"
    )


def _operation(title: str, operation: dict[str, Any], schema: dict[str, Any]) -> str:
    fields = [
        f"<li><code>{html.escape(name)}</code> {html.escape(str(field.get('description', '')))}</li>"
        for content in operation.get("requestBody", {}).get("content", {}).values()
        for name, field in _resolved(content.get("schema", {}), schema).get("properties", {}).items()
    ]
    text = html.escape(operation.get("description", operation.get("summary", "")))
    return f"<h2>{html.escape(title)}</h2><p>{text}</p><ul>{''.join(fields)}</ul>"


def _resolved(part: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    name = part.get("$ref", "").rpartition("/")[2]
    return schema.get("components", {}).get("schemas", {}).get(name, part)
