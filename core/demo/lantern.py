"""The sample repository *lantern*: slugs, Markdown and templates, with two bugs that its tests show."""

from core.demo.harbour import AGENTS, CHECK, IGNORED

SLUGS = '''"""Slugs: titles as they stand in an address."""

import re


def slug(title: str) -> str:
    """The title in lower-case letters, digits and single hyphens."""
    return re.sub(r"[^a-z0-9]", "-", title.lower())
'''

TEST_SLUGS = """import unittest

from lantern.slugs import slug


class SlugsTest(unittest.TestCase):
    def test_plain_words(self):
        self.assertEqual(slug("Keeping the light"), "keeping-the-light")

    def test_letters_lose_their_accents(self):
        self.assertEqual(slug("Café Ærø"), "cafe-aero")

    def test_no_hyphen_stands_alone(self):
        self.assertEqual(slug("  What -- now?  "), "what-now")
"""

MARKDOWN = '''"""A small part of Markdown: headings, paragraphs, **strong** and *emphasis*."""

import re


def to_html(text: str) -> str:
    """The text as HTML."""
    return "\\n".join(_block(block.strip()) for block in re.split(r"\\n\\s*\\n", text) if block.strip())


def _block(block: str) -> str:
    heading = re.fullmatch(r"(#{1,6}) (.+)", block)
    if heading:
        level = len(heading[1])
        return f"<h{level}>{_inline(heading[2])}</h{level}>"
    return f"<p>{_inline(block)}</p>"


def _inline(text: str) -> str:
    text = re.sub(r"\\*(.+?)\\*", r"<em>\\1</em>", text)
    return re.sub(r"\\*\\*(.+?)\\*\\*", r"<strong>\\1</strong>", text)
'''

TEST_MARKDOWN = """import unittest

from lantern.markdown import to_html


class MarkdownTest(unittest.TestCase):
    def test_headings_and_paragraphs(self):
        self.assertEqual(to_html("# Light\\n\\nIt burns."), "<h1>Light</h1>\\n<p>It burns.</p>")

    def test_strong_and_emphasis(self):
        self.assertEqual(to_html("**never** *out*"), "<p><strong>never</strong> <em>out</em></p>")

    def test_what_looks_like_html_is_text(self):
        self.assertEqual(to_html("<script> & co"), "<p>&lt;script&gt; &amp; co</p>")
"""

TEMPLATE = '''"""Templates: text with ``{{ names }}`` in it."""

import re
from collections.abc import Mapping

NAME = re.compile(r"\\{\\{\\s*(\\w+)\\s*\\}\\}")


def render(template: str, values: Mapping[str, str]) -> str:
    """The template with its names replaced by their values."""
    return NAME.sub(lambda match: str(values.get(match[1])), template)
'''

TEST_TEMPLATE = """import unittest

from lantern.template import render


class TemplateTest(unittest.TestCase):
    def test_names_are_replaced(self):
        self.assertEqual(render("{{greeting}}, {{ name }}!", {"greeting": "Ahoy", "name": "Ran"}), "Ahoy, Ran!")
"""

FILES: dict[str, str] = {
    ".gitignore": IGNORED,
    "AGENTS.md": AGENTS,
    "README.md": "# lantern\n\nSlugs, Markdown and templates for a small site.\n",
    "check.py": CHECK,
    "known-failures/README.md": "Test modules that fail for a known reason, one file each.\n",
    "known-failures/test_markdown.txt": "Strong text is torn apart, and HTML is not escaped.\n",
    "known-failures/test_slugs.txt": "Accents and runs of other characters become hyphens.\n",
    "lantern/__init__.py": '"""What a small site needs."""\n',
    "lantern/markdown.py": MARKDOWN,
    "lantern/slugs.py": SLUGS,
    "lantern/template.py": TEMPLATE,
    "tests/__init__.py": "",
    "tests/test_markdown.py": TEST_MARKDOWN,
    "tests/test_slugs.py": TEST_SLUGS,
    "tests/test_template.py": TEST_TEMPLATE,
}
