"""The most that a model can say in one answer, as the providers publish it; no price list of ours has it.

A request that asks for more is refused by its provider, so that a limit which the gateway puts in must not be above it.
Sources: https://platform.openai.com/docs/models, https://platform.claude.com/docs/en/about-claude/models/overview,
https://ai.google.dev/gemini-api/docs/models, https://api-docs.deepseek.com. A person's own number
(``qd service price … --most-output``) goes before it.
"""

from fnmatch import fnmatchcase

CAUTIOUS = 8_192
"""Tokens that are asked for where a limit has to be put in for a model whose own is not known: all but the oldest take it."""

LIMITS: tuple[tuple[str, int], ...] = (
    ("gpt-3.5*", 4_096),
    ("gpt-4o-2024-05-13", 4_096),
    ("gpt-4o*", 16_384),
    ("chatgpt-4o*", 16_384),
    ("gpt-4.1*", 32_768),
    ("gpt-4.5*", 16_384),
    ("gpt-4-turbo*", 4_096),
    ("gpt-4-*preview", 4_096),
    ("gpt-4*", 8_192),
    ("gpt-audio*", 16_384),
    ("gpt-oss*", 131_072),
    ("gpt-5-pro*", 272_000),
    ("gpt-5*chat*", 16_384),
    ("gpt-chat*", 16_384),
    ("gpt-5*", 128_000),
    ("gpt-6*", 128_000),
    ("codex-mini*", 100_000),
    ("o1-preview*", 32_768),
    ("o1-mini*", 65_536),
    ("o[134]*", 100_000),
    ("claude-2*", 4_096),
    ("claude-v1*", 4_096),
    ("claude-instant*", 4_096),
    ("claude-3[.-]5-*", 8_192),
    ("claude-3[.-]7-*", 64_000),
    ("claude-3-*", 4_096),
    ("claude-opus-4[.-]5*", 64_000),
    ("claude-opus-4[.-][6789]*", 128_000),
    ("claude-opus-4*", 32_000),
    ("claude-sonnet-4[.-]6*", 128_000),
    ("claude-*-4*", 64_000),
    ("claude-*", 128_000),
    ("gemini-1*", 8_192),
    ("gemini-pro*", 8_192),
    ("gemini-2.0*", 8_192),
    ("gemini-2.5-flash-image*", 32_768),
    ("gemini-*-image*", 32_768),
    ("gemini-*-tts*", 8_192),
    ("gemini-*", 65_536),
    ("deepseek-reasoner*", 64_000),
    ("deepseek-chat*", 8_192),
)
"""Glob of a model's name → tokens; the first that fits."""


def most_output(model: str) -> int | None:
    """Tokens of output that a model takes for a limit at most; None where it is not known."""
    name = model.lower().rpartition("/")[2]
    return next((most for glob, most in LIMITS if fnmatchcase(name, glob)), None)
