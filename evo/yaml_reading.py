"""Reading YAML as people mean it: on, off, yes and no are words, keys are text, and no key is given twice.

YAML 1.1, which the library reads, makes true and false of these words, dates of 2026-01-01 and 750 of 12:30.
Where true or false is asked for, the config's checks take the words on, off, yes and no as well.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Any

import yaml

_DROPPED = {"tag:yaml.org,2002:bool", "tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:float"}
_TRUTH = re.compile("^(?:true|True|TRUE|false|False|FALSE)$")
_FLOAT = re.compile(
    r"^[-+]?(?:[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+]?[0-9]+)?"
    r"|[0-9][0-9_]*[eE][-+]?[0-9]+|\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
    r"|^[-+]\.(?:inf|Inf|INF)$"
)
_SEXAGESIMAL = re.compile(r"^[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+$")

BadYaml = yaml.YAMLError  # of any text that is no YAML, or gives a key twice


class RepeatedKey(yaml.MarkedYAMLError):
    """A key stands twice in one group; `problem` names both lines."""


class _AsMeant:
    """What is changed of a loader; mixed into the library's own."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]]

    def resolve(self, kind: type, value: Any, implicit: Any) -> Any:
        tag = super().resolve(kind, value, implicit)  # type: ignore[misc]
        return "tag:yaml.org,2002:str" if _is_time(tag, value) else tag

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: dict[str, yaml.Node] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
                continue
            if key.value in seen:
                first, again = (one.start_mark.line + 1 for one in (seen[key.value], key))
                where = f"in line {first} and again in line {again}"
                said = f"the key {key.value!r} is given twice, {where}; keep one of them"
                raise RepeatedKey(problem=said)
            seen[key.value] = key
            key.tag = "tag:yaml.org,2002:str"
        made: dict[Hashable, Any] = super().construct_mapping(node, deep)  # type: ignore[misc]
        return made


def _is_time(tag: str, value: Any) -> bool:
    return tag == "tag:yaml.org,2002:int" and bool(_SEXAGESIMAL.match(value))


def _as_meant(base: Any) -> Any:
    made: Any = type("Loader", (_AsMeant, base), {})
    made.yaml_implicit_resolvers = {
        first: [(tag, form) for tag, form in known if tag not in _DROPPED]
        for first, known in base.yaml_implicit_resolvers.items()
    }
    made.add_implicit_resolver("tag:yaml.org,2002:bool", _TRUTH, list("tTfF"))
    made.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789."))
    return made


_PLAIN = _as_meant(yaml.SafeLoader)  # its errors say more
_QUICK = _as_meant(getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # ten times as quick


def read_yaml(text: str, quick: bool = False) -> Any:
    """The value of a YAML text. yaml.YAMLError, also for a key given twice; `quick`: its words are terser."""
    return yaml.load(text, _QUICK if quick else _PLAIN)
