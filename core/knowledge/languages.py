"""Which grammar reads a file, and which of its nodes are worth an item of their own.

Grammars are wheels of their own that carry everything with them; a language whose wheel is not installed is cut into
pieces as plain text is.
"""

from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tree_sitter import Parser

_GRAMMARS: dict[str, tuple[str, str]] = {
    ".c": ("tree_sitter_c", "language"),
    ".h": ("tree_sitter_c", "language"),
    ".go": ("tree_sitter_go", "language"),
    ".java": ("tree_sitter_java", "language"),
    ".js": ("tree_sitter_javascript", "language"),
    ".jsx": ("tree_sitter_javascript", "language"),
    ".mjs": ("tree_sitter_javascript", "language"),
    ".cjs": ("tree_sitter_javascript", "language"),
    ".py": ("tree_sitter_python", "language"),
    ".pyi": ("tree_sitter_python", "language"),
    ".rb": ("tree_sitter_ruby", "language"),
    ".rs": ("tree_sitter_rust", "language"),
    ".ts": ("tree_sitter_typescript", "language_typescript"),
    ".mts": ("tree_sitter_typescript", "language_typescript"),
    ".cts": ("tree_sitter_typescript", "language_typescript"),
    ".tsx": ("tree_sitter_typescript", "language_tsx"),
}
CODE = frozenset(_GRAMMARS)
"""Endings of the files that have a grammar."""
DOCUMENTS = frozenset({".md", ".markdown", ".mdx", ".rst", ".adoc", ".txt", ".org"})
"""Files that are cut at their headings."""

HOLDERS = frozenset(
    {
        "class_definition", "class_declaration", "abstract_class_declaration", "class", "module", "impl_item",
        "trait_item", "mod_item", "interface_declaration", "internal_module", "record_declaration",
        "namespace_definition", "enum_declaration",
    }
)  # fmt: skip
"""Nodes whose members become items of their own when the whole is too long."""
DEFINITIONS = HOLDERS | frozenset(
    {
        "function_definition", "function_declaration", "generator_function_declaration", "method_definition",
        "method_declaration", "constructor_declaration", "function_item", "struct_item", "enum_item", "union_item",
        "macro_definition", "type_declaration", "type_alias_declaration", "type_definition", "method",
        "singleton_method", "annotation_type_declaration", "type_item", "struct_specifier",
    }
)  # fmt: skip
"""Nodes that are an item."""
WRAPPERS = frozenset({"decorated_definition", "export_statement", "template_declaration", "ambient_declaration"})
"""Nodes around a definition that belong to it."""
BODIES = frozenset(
    {
        "class_body", "declaration_list", "block", "body_statement", "enum_body", "statement_block", "interface_body",
        "enum_body_declarations", "field_declaration_list",
    }
)  # fmt: skip
"""Nodes that hold the members of a holder."""
VALUES = frozenset({"lexical_declaration", "variable_declaration"})
"""Nodes that define a function when a function is what they assign."""


@lru_cache(maxsize=32)
def parser_for(suffix: str) -> "Parser | None":
    """The parser of files with this ending (``.py``), in lower case; None where there is none."""
    found = _GRAMMARS.get(suffix)
    if found is None:
        return None
    try:
        from tree_sitter import Language, Parser

        module = import_module(found[0])
    except ImportError:
        return None
    return Parser(Language(getattr(module, found[1])()))
