"""The work on *lantern*, step by step: two bugs mended, one question asked, and two modules added."""

from core.demo.hands import Ask, Change, Fork, Look, Put, Scene, Shell
from core.demo.work import CHECKED, DECISION, TITLES, add, mend

_MARKDOWN = mend(
    "markdown",
    Look("lantern/markdown.py"),
    Change(
        "lantern/markdown.py",
        """    text = re.sub(r"\\*(.+?)\\*", r"<em>\\1</em>", text)
    return re.sub(r"\\*\\*(.+?)\\*\\*", r"<strong>\\1</strong>", text)
""",
        """    text = re.sub(r"\\*\\*(.+?)\\*\\*", r"<strong>\\1</strong>", html.escape(text, quote=False))
    return re.sub(r"\\*(.+?)\\*", r"<em>\\1</em>", text)
""",
    ),
    Change("lantern/markdown.py", "import re\n", "import html\nimport re\n"),
    closing="Strong text is looked for before emphasis, and HTML is escaped before both.",
    check=False,
)

_SLUGS = mend(
    "slugs",
    Look("lantern/slugs.py"),
    Put(
        "lantern/slugs.py",
        '''"""Slugs: titles as they stand in an address."""

import re
import unicodedata

LETTERS = str.maketrans({"æ": "ae", "ø": "o", "å": "a", "œ": "oe", "ß": "ss"})
"""Letters that are no accented form of another."""


def slug(title: str) -> str:
    """The title in lower-case letters, digits and single hyphens."""
    plain = unicodedata.normalize("NFKD", title.lower().translate(LETTERS))
    plain = "".join(character for character in plain if not unicodedata.combining(character))
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")
''',
    ),
    closing="Accents come off, and runs of other characters become one hyphen.",
)

_TEMPLATE_TEST = """import unittest

from lantern.template import render


class TemplateTest(unittest.TestCase):
    def test_names_are_replaced(self):
        self.assertEqual(render("{{greeting}}, {{ name }}!", {"greeting": "Ahoy", "name": "Ran"}), "Ahoy, Ran!")

"""

_TEMPLATE = Scene(
    TITLES["template"],
    (
        Look("lantern/template.py"),
        Ask("What should a name that has no value become?", (DECISION, "nothing")),
        Fork(
            "error",
            then=(
                Put(
                    "tests/test_template.py",
                    _TEMPLATE_TEST
                    + """    def test_a_missing_name_is_an_error_that_says_so(self):
        with self.assertRaisesRegex(KeyError, "name"):
            render("Ahoy, {{ name }}!", {})
""",
                ),
                Change("lantern/template.py", "str(values.get(match[1]))", "str(values[match[1]])"),
            ),
            otherwise=(
                Put(
                    "tests/test_template.py",
                    _TEMPLATE_TEST
                    + """    def test_a_missing_name_becomes_nothing(self):
        self.assertEqual(render("Ahoy, {{ name }}!", {}), "Ahoy, !")
""",
                ),
                Change("lantern/template.py", "str(values.get(match[1]))", 'str(values.get(match[1], ""))'),
            ),
        ),
        Shell(CHECKED),
    ),
    "A missing name is treated as the supervisor decided, and a test holds it to that.",
    opening="What a missing name should become is not for me to guess.",
)

_CONTENTS = add(
    "contents",
    "lantern",
    '''"""Tables of contents."""

import re

from lantern.markdown import to_html
from lantern.slugs import slug


def headings(text: str) -> list[tuple[int, str]]:
    """Level and title of each heading."""
    return [(len(marks), title) for marks, title in re.findall(r"^(#{1,6}) (.+)$", text, re.MULTILINE)]


def contents(text: str) -> str:
    """The headings as a list of links."""
    items = [f'<li><a href="#{slug(title)}">{_inline(title)}</a></li>' for _, title in headings(text)]
    return "\\n".join(["<ul>", *items, "</ul>"])


def _inline(title: str) -> str:
    """The title as HTML, without the paragraph around it."""
    return to_html(title).removeprefix("<p>").removesuffix("</p>")
''',
    """import unittest

from lantern.contents import contents, headings

TEXT = "# Café\\n\\nOpen.\\n\\n## **Late** & early\\n"


class ContentsTest(unittest.TestCase):
    def test_headings_have_levels(self):
        self.assertEqual(headings(TEXT), [(1, "Café"), (2, "**Late** & early")])

    def test_each_heading_is_a_link(self):
        lines = contents(TEXT).splitlines()
        self.assertEqual(lines[1], '<li><a href="#cafe">Café</a></li>')
        self.assertEqual(lines[2], '<li><a href="#late-early"><strong>Late</strong> &amp; early</a></li>')
""",
    "The headings of a text are listed as links.",
    check=False,
)

_PAGE = add(
    "page",
    "lantern",
    '''"""Whole pages."""

from lantern.contents import contents
from lantern.markdown import to_html
from lantern.template import render


def page(template: str, title: str, text: str) -> str:
    """The template with ``title``, ``contents`` and ``body`` filled in."""
    return render(template, {"title": title, "contents": contents(text), "body": to_html(text)})
''',
    """import unittest

from lantern.page import page


class PageTest(unittest.TestCase):
    def test_a_page_has_its_title_contents_and_text(self):
        found = page("{{ title }}|{{ contents }}|{{ body }}", "Light", "# On\\n\\nIt *burns*.")
        title, contents, body = found.split("|")
        self.assertEqual(title, "Light")
        self.assertIn('<a href="#on">On</a>', contents)
        self.assertEqual(body, "<h1>On</h1>\\n<p>It <em>burns</em>.</p>")
""",
    "A page is put together from its template, its contents and its text.",
)

SCENES: tuple[Scene, ...] = (_MARKDOWN, _SLUGS, _TEMPLATE, _CONTENTS, _PAGE)
