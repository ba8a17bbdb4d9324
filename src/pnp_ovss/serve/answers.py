"""What the service answers: a result as JSON with masks, and the page that describes the interface."""

from __future__ import annotations

from html import escape
from typing import Any

from pnp_ovss.pictures.html import page
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
    text = f"<p>{escape(schema['info'].get('description', ''))}</p>"
    more = "<p>The same for programs: <a href='openapi.json'>openapi.json</a></p>"
    return page(schema["info"]["title"], [text, more, *operations])


def _operation(title: str, operation: dict[str, Any], schema: dict[str, Any]) -> str:
    fields = [
        f"<li><code>{escape(name)}</code> {escape(str(field.get('description', '')))}</li>"
        for content in operation.get("requestBody", {}).get("content", {}).values()
        for name, field in _resolved(content.get("schema", {}), schema).get("properties", {}).items()
    ]
    text = escape(operation.get("description", operation.get("summary", "")))
    return f"<h2>{escape(title)}</h2><p>{text}</p><ul>{''.join(fields)}</ul>"


def _resolved(part: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    name = part.get("$ref", "").rpartition("/")[2]
    return schema.get("components", {}).get("schemas", {}).get(name, part)
