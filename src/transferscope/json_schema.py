"""The JSON schemas of a study file, from which editors complete keys, explain them and mark mistakes, and of results.

The models say what a key takes; what registries name (analyses, kinds of input, augmentations) is put in here with its
options. Behind a name with a dot is anyone's module, whose options no schema knows.
"""

from dataclasses import fields
from typing import Any, get_type_hints

from pydantic import BaseModel, create_model
from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from transferscope import analyses, registry
from transferscope.data import Target
from transferscope.report.results_json import FORMAT, UNTOLD
from transferscope.section import Card, Finding
from transferscope.study.explain import NO_KEYS
from transferscope.study.file import StudyFile
from transferscope.study.schema import Pretrained
from transferscope.tasks import augmentations, inputs
from transferscope.tasks.augment import Augment
from transferscope.tasks.recipe import Recipe, Training

Schema = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
DOTTED = r"^[^\s.:]+(\.[^\s.:]+)+$"
MODULE = {"type": "string", "pattern": DOTTED, "description": "Your own module by its dotted name."}
ANY_OPTIONS = {"type": ["object", "null"]}
NO_OPTIONS = {**ANY_OPTIONS, "maxProperties": 0}
# What pydantic calls bounds and lengths behind a validator of ours, which older releases do not see there at all.
STANDARD = {"gt": "exclusiveMinimum", "ge": "minimum", "lt": "exclusiveMaximum", "le": "maximum"}
LENGTHS = {
    "array": {"minLength": "minItems", "maxLength": "maxItems"},
    "object": {"minLength": "minProperties", "maxLength": "maxProperties"},
}


class _Keys(GenerateJsonSchema):
    """Keys without titles, which would repeat their names."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def study_schema() -> Schema:
    """The schema, draft 2020-12: of every key its help (`description`), and its `default` where it may be left out."""
    measured = {name: analyses.load(name).Options for name in analyses.names()}
    kinds = {name: getattr(inputs.load(name), "Options", None) for name in inputs.names()}
    altered = {name: augmentations.load(name).Options for name in augmentations.names()}
    models = dict.fromkeys([StudyFile, Training, *measured.values(), *filter(None, kinds.values()), *altered.values()])
    found, whole = models_json_schema([(model, "validation") for model in models], schema_generator=_Keys)
    defs: Schema = _standard(whole["$defs"])
    refs = {model: ref for (model, _), ref in found.items()}
    for part in defs.values():
        part.pop("title", None)
    for name, model in measured.items():
        own = defs[refs[model]["$ref"].rpartition("/")[2]]
        told = {"type": {"enum": [name, None], **_told("type")}, "recipe": {**refs[Training], **_told("recipe")}}
        own["properties"] = {**told, **own.get("properties", {})}

    study = defs.pop(StudyFile.__name__)
    for name in NO_KEYS:
        del study["properties"][name]
    del defs[Target.__name__]["anyOf"][0]["required"]
    study |= {"if": {"required": ["extends"]}, "else": _whole(study.pop("required"), list(measured))}
    entry = _named(augmentations.__name__, {name: refs[model] for name, model in altered.items()})
    still = _named(augmentations.__name__, {name: refs[altered[name]] for name in augmentations.fixed()})
    several = {"type": "array", "items": still, "minItems": 1}
    prepared = {"anyOf": [*still["anyOf"], several, {"type": "null"}]}
    for keys, key, form in (
        (study["properties"], "analyses", _analyses({name: refs[model] for name, model in measured.items()})),
        (
            study["properties"],
            "input",
            _named(inputs.__name__, {name: refs[model] if model else NO_OPTIONS for name, model in kinds.items()}),
        ),
        (defs[Pretrained.__name__]["properties"], "recipe", refs[Training]),
        (defs[Augment.__name__]["properties"], "then", {"anyOf": [*entry["anyOf"], {"type": "array", "items": entry}]}),
        *((defs[model.__name__]["properties"], "prepare", prepared) for model in (Training, Recipe)),
    ):
        keys[key] = form | {word: keys[key][word] for word in ("description", "default") if word in keys[key]}
    return {"$schema": DIALECT, "title": "A study of transferscope", **study, "$defs": defs}


def _analyses(options: dict[str, Schema]) -> Schema:
    """A list of names, or a mapping: by a name that `type` need not explain, or by any where it says which this is."""
    name = {"anyOf": [{"enum": list(options)}, MODULE]}
    told = {
        "properties": {"type": {**_told("type"), **name}},
        "allOf": [
            {"if": {"properties": {"type": {"const": one}}, "required": ["type"]}, "then": ref}
            for one, ref in options.items()
        ],
    }
    shipped = {
        one: {"anyOf": [ref, {"type": "null"}], "description": line}
        for (one, ref), line in zip(options.items(), _help(analyses.__name__, options), strict=True)
    }
    untold = {"type": ["object", "null"], "properties": {"type": {"type": "null"}}}
    return {
        "anyOf": [
            {
                "type": "object",
                "properties": shipped,
                "patternProperties": {DOTTED: {"anyOf": [untold, {"type": "object", **told}]}},
                "additionalProperties": {"type": "object", **told},
                "minProperties": 1,
            },
            {"type": "array", "items": name, "minItems": 1},
        ]
    }


def _whole(required: list[str], measured: list[str]) -> Schema:
    """What a study must say that extends no other."""
    target = {"required": ["ref"]}  # where it is a mapping, as all of these
    named: Schema = {"properties": {name: {} for name in measured}, "patternProperties": {DOTTED: {}}}
    return {
        "required": required,
        "properties": {
            "targets": {"additionalProperties": target},
            "network": target,
            "pretrained": {"properties": {"source": target}},
            "seeds": {"required": ["from", "to"]},
            "analyses": {**named, "additionalProperties": {"required": ["type"]}},
        },
    }


def _told(key: str) -> Schema:
    """The help of a key that every analysis has."""
    info = analyses.Entry.model_fields[key]
    return {"description": " ".join((info.description or "").split()), "default": info.default}


def _named(package: str, options: dict[str, Schema]) -> Schema:
    """A name of a registry, or a mapping from one to its options."""
    given = {
        name: {"anyOf": [one, {"type": "null"}], "description": line}
        for (name, one), line in zip(options.items(), _help(package, options), strict=True)
    }
    one = {
        "type": "object",
        "properties": given,
        "patternProperties": {DOTTED: ANY_OPTIONS},
        "additionalProperties": False,
        "minProperties": 1,
        "maxProperties": 1,
    }
    return {"anyOf": [{"enum": list(options)}, MODULE, one]}


def _help(package: str, names: dict[str, Schema]) -> list[str]:
    """The first line of every name's file."""
    lines = registry.lines(package)
    return [lines[name] for name in names]


def _standard(said: Any) -> Any:
    """What pydantic made, in the words of the standard, helps on one line; parts by default are `{}`."""
    if isinstance(said, list):
        return [_standard(one) for one in said]
    if not isinstance(said, dict):
        return said
    words = STANDARD | LENGTHS.get(str(said.get("type")), {})
    found = {words.get(word, word): _standard(one) for word, one in said.items()}
    if isinstance(found.get("description"), str):
        found["description"] = " ".join(found["description"].split())
    if found.get("allOf") and len(found["allOf"]) == 1:  # as older releases of pydantic put words beside a reference
        found |= found.pop("allOf")[0]
    if isinstance(found.get("default"), dict) and ("$ref" in found or "$ref" in str(found.get("anyOf"))):
        found["default"] = {}
    return found


def results_schema() -> Schema:
    """The schema of results.json, draft 2020-12: every key of it is there, and no other."""
    text, anything = {"type": "string"}, {"type": "object"}
    texts = {"type": "array", "items": text}
    analysis = {
        "name": text,
        "title": text,
        "findings": {"type": "array", "items": _told_of(Finding)},
        "cards": {"type": "array", "items": _told_of(Card)},
        "basis": text,
        "notes": texts,
        "problems": texts,
        "missing": {"type": "array", "items": _exactly({"labels": anything, "reason": text})},
        "table": {**text, "description": "The CSV of its rows, from the folder of this file."},
        "rows": {"type": "integer", "minimum": 0},
        "charts": {"type": "array", "items": _exactly(dict.fromkeys(("name", "title", "caption"), text))},
    }
    whole = {
        "format": {"const": FORMAT, "description": "Of this file; it is raised where a key changes its meaning."},
        "title": text,
        "question": text,
        "precision": {"type": ["string", "null"], "description": "Of the networks; null where none was trained."},
        "design": {"type": ["string", "null"], "description": "How often claims are looked at, and how strictly."},
        "versions": {"type": "object", "additionalProperties": text},
        "analyses": {"type": "array", "items": _exactly(analysis)},
    }
    return {"$schema": DIALECT, "title": "What a study of transferscope found", **_exactly(whole)}


def _exactly(properties: dict[str, Any]) -> Schema:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _told_of(kind: type) -> Schema:
    """What a file tells of a dataclass, by the types of its fields."""
    hints, left = get_type_hints(kind), UNTOLD[kind.__name__]
    told: dict[str, Any] = {one.name: (hints[one.name], ...) for one in fields(kind) if one.name not in left}
    model: type[BaseModel] = create_model(kind.__name__, **told)
    return _exactly(model.model_json_schema(schema_generator=_Keys)["properties"])
