"""Parts of the JSON Schema about data, indicators, fuzzy sets, inputs and deployment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ktrdr.core.data.timeframe import TIMEFRAMES
from ktrdr.core.errors import KtrdrError
from ktrdr.core.fuzzy.membership import MEMBERSHIP_TYPES
from ktrdr.core.indicators import registry
from ktrdr.core.names import NAME_PATTERN
from ktrdr.core.parameters import Parameter
from ktrdr.core.strategy.read_data import HISTORY
from ktrdr.core.strategy.read_inputs import LAGS, NORMALIZATIONS
from ktrdr.core.strategy.schema_parts import (
    NULL,
    TEXT,
    Schema,
    any_case,
    closed_map,
    described,
    map_by_type,
    optional,
    parameter_schema,
    parameter_schemas,
)

__all__ = ["deployment", "fuzzy_sets", "indicators", "nn_inputs", "training_data"]

_DATE: Schema = {"type": "string", "format": "date", "pattern": r"^\d{4}-\d{2}-\d{2}$"}
_TIMEFRAME: Schema = {"enum": list(TIMEFRAMES)}


def training_data() -> Schema:
    """Return the schema of ``training_data``."""
    first = described(optional(_DATE), "first day of the data, UTC; without it, the first stored day")
    last = described(optional(_DATE), "last day of the data, UTC; without it, the last stored day")
    base = described(
        optional(_TIMEFRAME),
        "the timeframe in `list` on whose bars the model decides and labels are made; without it, the first",
    )
    return closed_map(
        {
            "symbols": described(
                _one_or_list("symbol", "multi_symbol", described(TEXT, "the symbol"), {}), "symbols whose bars are read"
            ),
            "timeframes": described(
                _one_or_list(
                    "timeframe",
                    "multi_timeframe",
                    described(_TIMEFRAME, "the length of a bar"),
                    {"base_timeframe": base},
                ),
                "timeframes of the bars",
            ),
            "date_range": optional(
                closed_map(
                    {"start": first, "end": last},
                    description="first and last day, UTC, both inclusive; without it, all data",
                )
            ),
            "start_date": described(first, "`date_range.start` in older files"),
            "end_date": described(last, "`date_range.end` in older files"),
            **parameter_schemas(HISTORY),
        },
        required=("symbols", "timeframes"),
        description="which data the strategy is trained on",
    )


def _one_or_list(single: str, multiple: str, item: Schema, extra: Mapping[str, Schema]) -> Schema:
    def alternative(mode: str, key: str, value: Schema, other: str) -> Schema:
        mode_schema = described(any_case((mode,)), f"`single` for one {single}, `{multiple}` for those in `list`")
        return closed_map({"mode": mode_schema, key: value, other: NULL, **extra}, required=("mode", key))

    many: Schema = {
        "type": "array",
        "minItems": 1,
        "uniqueItems": True,
        "items": item,
        "description": f"the {single}s; with `mode: single`, a list of one instead of `{single}`",
    }
    return {
        "anyOf": [
            alternative("single", single, item, "list"),
            alternative("single", "list", {**many, "maxItems": 1}, single),
            alternative(multiple, "list", many, single),
        ]
    }


def indicators() -> Schema:
    """Return the schema of ``indicators``, with every type of the registry."""
    kinds: dict[str, Sequence[Parameter]] = {}
    spellings: dict[str, Sequence[str]] = {}
    for name in registry.indicator_names():
        try:
            indicator = registry.get_indicator(name)
        except KtrdrError:
            continue  # The loader refuses a broken user indicator, too.
        kinds[name] = indicator.parameters
        spellings[name] = (name, *indicator.aliases)
    return {
        "type": "object",
        "propertyNames": {"pattern": f"^{NAME_PATTERN}$"},
        "additionalProperties": map_by_type(
            "type", kinds, "the indicator to compute; the other keys depend on it", spellings=spellings
        ),
        "description": "indicators to compute, by id",
    }


def fuzzy_sets() -> Schema:
    """Return the schema of ``fuzzy_sets``."""
    number: Schema = {"type": "number"}
    above: Schema = {"type": "number", "exclusiveMinimum": 0}

    def numbers(kind: str, names: Sequence[str]) -> Schema:
        items = [above if name in ("sigma", "width") or (kind, name) == ("bell", "slope") else number for name in names]
        text = f"{kind}: [{', '.join(names)}]"
        return {
            "type": "array",
            "prefixItems": items,
            "minItems": len(items),
            "maxItems": len(items),
            "description": text,
        }

    shapes = {kind: numbers(kind, names) for kind, names in MEMBERSHIP_TYPES.items()}
    function: Schema = {
        "anyOf": [
            shapes["triangular"],
            shapes["trapezoidal"],
            *(
                closed_map(
                    {"type": described(any_case((kind,)), "shape of the membership function"), "parameters": shape},
                    required=("type", "parameters"),
                )
                for kind, shape in shapes.items()
            ),
        ],
        "description": "a membership: three numbers (triangular), four (trapezoidal), or type and parameters",
    }
    return {
        "type": "object",
        "propertyNames": {"pattern": f"^{NAME_PATTERN}$"},
        "additionalProperties": {
            "type": "object",
            "required": ["indicator"],
            "minProperties": 2,
            "properties": {
                "indicator": described(
                    TEXT, "indicator whose values are read: `<id>`, or `<id>.<output>` if it has several outputs"
                )
            },
            "propertyNames": {"pattern": f"^{NAME_PATTERN}$"},
            "additionalProperties": function,
        },
        "description": "fuzzy sets by id, each with an indicator and its memberships",
    }


def nn_inputs() -> Schema:
    """Return the schema of ``nn_inputs``."""
    timeframes: Schema = {
        "anyOf": [
            {"const": "all"},
            {"type": "array", "minItems": 1, "uniqueItems": True, "items": _TIMEFRAME},
        ],
        "description": "timeframes of `training_data` to use: `all`, or a list",
    }
    common = {"timeframes": timeframes, "lags": parameter_schema(LAGS)}
    fuzzy_set = described(TEXT, "id of a fuzzy set, whose degrees of membership are the input")
    raw = described(TEXT, "`<id>` or `<id>.<output>` of an indicator, whose normalized value is the input")
    normalization = described(
        optional(any_case(NORMALIZATIONS)),
        "how values are scaled; the scale is fitted on the training part only",
        default=NORMALIZATIONS[0],
    )
    return {
        "type": "array",
        "minItems": 1,
        "items": {
            "anyOf": [
                closed_map(
                    {"fuzzy_set": fuzzy_set, "raw_indicator": NULL, **common}, required=("fuzzy_set", "timeframes")
                ),
                closed_map(
                    {"raw_indicator": raw, "fuzzy_set": NULL, "normalization": normalization, **common},
                    required=("raw_indicator", "timeframes"),
                ),
            ]
        },
        "description": "inputs of the model, in this order",
    }


def deployment() -> Schema:
    """Return the schema of ``deployment``."""

    def targets(item: Schema, what: str) -> Schema:
        many: Schema = {"type": "array", "minItems": 1, "uniqueItems": True, "items": item}
        listed = described(optional(many), f"the {what}, in older files")
        older = {
            "mode": described(
                optional(TEXT),
                f"only in older files: `universal` for no restriction, `training_only` for the {what} trained on",
            ),
            "list": listed,
            "supported": described(listed, "another word for `list`"),
        }
        return described(
            optional({"anyOf": [many, closed_map(older)]}),
            f"{what} that a trained model may be used on; without it, any",
        )

    return closed_map(
        {
            "target_symbols": targets(TEXT, "symbols"),
            "target_timeframes": targets(_TIMEFRAME, "timeframes"),
        },
        description="data that a trained model may be used on; the backtest refuses other data",
    )
