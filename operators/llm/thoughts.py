"""A reply without the thoughts that some models and servers leave in it, in whatever tag they stand."""

from __future__ import annotations

import re

_THOUGHT_WORDS = (
    "think",
    "thought",
    "reason",
    "reflect",
    "analy",
    "scratch",
    "planning",
    "draft",
    "monolog",
    "ponder",
    "brainstorm",
    "delib",
    "contempl",
    "cogit",
    "rational",
    "explor",
    "critiq",
    "musing",
    "introspect",
    "speculat",
    "selfreview",
    "verif",
)
_WHOLE_WORDS = {"plan", "cot", "internal", "inner", "details", "unused", "notes", "work"}
_OPENING, _CLOSING = {"begin", "start", "bot"}, {"end", "eot"}
# `<think>`, `</seed:think>`, `<|begin_of_thought|>`, `[THINK]`, `◁think▷`; a name in quotes is no tag
_TAG = re.compile(
    r"""(?<!["'`\\])
    (?: <[|｜]? (?P<slash>/?) (?P<name>[A-Za-z][\w:.-]{0,40})
            (?P<rest>(?:[ \t]+[\w-]{1,40}=[^<>\n]{0,200})?[ \t]{0,9}/?) [|｜]?>
      | ◁ (?P<slash2>/?) (?P<name2>[A-Za-z]{1,40}) ▷
      | (?: (?<![\w\])=]) \[ | \[ (?=/) ) (?P<slash3>/?) (?P<name3>THINK(?:ING)?|THOUGHTS?|REASONING) \] )
    (?!["'`])""",
    re.VERBOSE,
)
_SUMMARY = re.compile(r"\s{0,40}<summary>([^<\n]{1,200})</summary>", re.IGNORECASE)
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|\d+")
_CHANNEL = re.compile(r"<\|channel\|>\s{0,9}(\w{1,40})[^<\n]{0,80}(?:<\|message\|>)?")
_CHANNEL_END = re.compile(r"<\|(?:end|return|start|call)\|>")
_FENCED_THOUGHT = re.compile(
    r"^[ \t]{0,8}(`{3,}|~{3,})[ \t]*(?:think|thought|reason|scratch)\w{0,12}[ \t]*$", re.IGNORECASE
)
_FENCE_END = re.compile(r"^[ \t]{0,8}(`{3,}|~{3,})[ \t]*$")
_IDEA_LINE = re.compile(r"^[ \t#*_>`-]{0,20}IDEA\b[^\n:]{0,20}:", re.IGNORECASE | re.MULTILINE)
_LONE_TAG = re.compile(r"^[ \t]{0,8}<(/?)([A-Za-z][\w:.-]{0,40})>[ \t]*$", re.MULTILINE)


def without_thoughts(text: str) -> str:
    """What a reply says when its thoughts are cut: what stands in a tag, before a closing tag that nothing
    opened, and after an opening tag that nothing closes. Drafts in them are never part of the answer."""
    text = _last_channel(text.replace("\ufeff", ""))
    text = _without_fenced_thoughts(text)
    kept, at, inside, folded = list[str](), 0, "", 0
    for tag in _TAG.finditer(text):
        family, opens = _read_tag(tag)
        if not family:
            continue
        if family == "details" and not inside and (folded or _is_folded_answer(text, tag.end())):
            folded += 1 if opens else -1
            continue
        if (tag["rest"] or "").rstrip().endswith("/"):  # `<think/>`
            kept += [] if inside else [text[at : tag.start()]]
        elif opens and not inside:
            kept.append(text[at : tag.start()])
            inside = family
        elif opens or (inside and family != inside):
            continue
        elif inside:
            inside = ""
        else:  # all before it was thought
            kept.clear()
        at = tag.end()
    if not inside:
        kept.append(text[at:])
    return _without_other_tags("".join(kept))


def _is_folded_answer(text: str, at: int) -> bool:
    """Whether what a page folds away here is called by another name than a thought."""
    named = _SUMMARY.match(text, at)
    words = [one.lower() for one in _WORD.findall(named[1])] if named else []
    return bool(words) and not any(one.startswith(_THOUGHT_WORDS) for one in words)


def _read_tag(tag: re.Match[str]) -> tuple[str, bool]:
    """What kind of thought a tag marks ("" for none), and whether it opens."""
    name = tag["name"] or tag["name2"] or tag["name3"]
    if name in ("unused94", "unused95"):
        return "think", name == "unused94"
    words = [one.lower() for one in _WORD.findall(name)]
    opens = not (tag["slash"] or tag["slash2"] or tag["slash3"] or _CLOSING & set(words))
    for word in words:
        if word in _WHOLE_WORDS and not tag["name3"] and word != "unused":
            return word, opens
        if word.startswith(_THOUGHT_WORDS):
            return ("think" if word[:5] in ("think", "thoug", "reaso") else word), opens
    return "", opens


def _last_channel(text: str) -> str:
    """Of an answer in channels the final one; "" where there are only others."""
    if "<|channel|>" in text:
        channels = list(_CHANNEL.finditer(text))
        finals = [one for one in channels if one[1].lower() == "final"]
        if not finals:
            return text[: channels[0].start()] if channels else text
        rest = text[finals[-1].end() :]
        end = _CHANNEL_END.search(rest)
        return rest[: end.start()] if end else rest
    final = "assistantfinal"  # its special tokens were dropped
    if text.startswith(("analysis", final)) and final in text:
        return text.rpartition(final)[2]
    return text


def _without_fenced_thoughts(text: str) -> str:
    kept, mark = list[str](), ""
    for line in text.split("\n"):
        if mark:
            end = _FENCE_END.match(line)
            mark = "" if end and end[1].startswith(mark) else mark
        elif opening := _FENCED_THOUGHT.match(line.rstrip("\r")):
            mark = opening[1]
        else:
            kept.append(line)
    return "\n".join(kept)


def _without_other_tags(text: str) -> str:
    """Without the lines in a tag of any name, where they end before the line that states the idea.

    An answer begins with its IDEA line: what a model put in a tag before it is no part of the answer.
    """
    ideas = list(_IDEA_LINE.finditer(text))
    idea = ideas[-1] if ideas else None
    if idea is None or text.count("\n", idea.end()) < 2:
        return text
    kept, at, opened = list[str](), 0, None
    for tag in _LONE_TAG.finditer(text, 0, idea.start()):
        if opened is None and not tag[1]:
            opened = tag
        elif opened is not None and tag[1] and opened[2] == tag[2]:
            kept.append(text[at : opened.start()])
            at, opened = tag.end(), None
    return "".join([*kept, text[at:]])
