"""Reading patches: what git writes, and whatever else may come."""

from hypothesis import given
from hypothesis import strategies as st

from tui.patch import read_patch

HEAD = "diff --git a/x.py b/x.py\nindex 1..2 100644\n--- a/x.py\n+++ b/x.py\n"


def test_lines_have_their_numbers_on_either_side() -> None:
    [file] = read_patch(HEAD + "@@ -3,3 +3,4 @@ def f():\n a\n-b\n+c\n+d\n e\n").files
    [hunk] = file.hunks
    assert [(line.sign, line.text, line.old, line.new) for line in hunk.lines] == [
        (" ", "a", 3, 3), ("-", "b", 4, 0), ("+", "c", 0, 4), ("+", "d", 0, 5), (" ", "e", 5, 6),
    ]  # fmt: skip
    assert (hunk.title, file.insertions, file.deletions) == ("def f():", 2, 1)


def test_deleted_lines_that_look_like_a_heading_are_lines() -> None:
    [file] = read_patch(HEAD + "@@ -1,2 +1,1 @@\n--- a/y\n-diff --git a/y b/y\n+++ b/y\n").files
    assert [line.sign + line.text for line in file.hunks[0].lines] == ["--- a/y", "-diff --git a/y b/y", "+++ b/y"]


def test_a_missing_newline_at_the_end_belongs_to_its_line() -> None:
    [file] = read_patch(HEAD + "@@ -1 +1 @@\n-a\n\\ No newline at end of file\n+a\n").files
    assert [line.open_end for line in file.hunks[0].lines] == [True, False]


def test_renames_copies_modes_and_binary_files_say_so() -> None:
    patch = read_patch(
        "diff --git a/old name b/new name\nsimilarity index 90%\nrename from old name\nrename to new name\n"
        "diff --git a/run b/run\nold mode 100644\nnew mode 100755\n"
        "diff --git a/p.png b/p.png\nindex 1..2 100644\nBinary files a/p.png and b/p.png differ\n"
        "diff --git a/e b/e\nnew file mode 100644\nindex 0..0\n"
        "diff --git a/l b/l\nnew file mode 120000\nindex 0..1\n--- /dev/null\n+++ b/l\n@@ -0,0 +1 @@\n+target\n\\ No newline at end of file\n"
    )
    assert [(file.path, file.kind, file.words) for file in patch.files] == [
        ("new name", "renamed", ["renamed from old name, 90 % alike"]),
        ("run", "modified", ["mode 100644 became 100755: executable now"]),
        ("p.png", "modified", ["binary: its content cannot be shown"]),
        ("e", "added", ["new file", "empty"]),
        ("l", "added", ["new symbolic link"]),
    ]


def test_quoted_names_are_unquoted() -> None:
    [file] = read_patch(
        'diff --git "a/f\\303\\251\\t.txt" "b/f\\303\\251\\t.txt"\nold mode 100644\nnew mode 100755\n'
    ).files
    assert file.path == "fé\t.txt"


def test_names_with_blanks_are_whole() -> None:
    [file] = read_patch("diff --git a/a b/a b/a b/a\nold mode 100644\nnew mode 100755\n").files
    assert file.path == "a b/a"


def test_separators_of_lines_that_are_not_ours_stay_in_their_line() -> None:
    [file] = read_patch(HEAD + "@@ -0,0 +1,1 @@\n+one\u2028two\x0cthree\x85four\rfive\n").files
    assert len(file.hunks[0].lines) == 1


def test_what_was_cut_off_is_told() -> None:
    patch = read_patch(HEAD + "@@ -1,9 +1,9 @@\n a\n… cut after 30 bytes\n")
    assert (len(patch.files[0].hunks[0].lines), patch.rest) == (1, "… cut after 30 bytes")


LINE = st.one_of(
    st.text(max_size=30),
    st.sampled_from(
        [
            "diff --git a/x b/x",
            "--- a/x",
            "+++ b/x",
            "--- /dev/null",
            "+++ /dev/null",
            "@@ -1,2 +1,2 @@",
            "@@ -0,0 +1 @@ f",
            "@@ -9999999 +1 @@",
            'rename from "a',
            "rename to b",
            "similarity index 9x%",
            "old mode",
            "new file mode 100644",
            "Binary files a and b differ",
            "GIT binary patch",
            "\\ No newline at end of file",
            " a",
            "+b",
            "-c",
            "",
        ]
    ),
)


@given(st.lists(LINE, max_size=40))
def test_any_text_is_read(lines: list[str]) -> None:
    patch = read_patch("\n".join(lines))
    for file in patch.files:
        counted = [line.sign for hunk in file.hunks for line in hunk.lines]
        assert (counted.count("+"), counted.count("-")) == (file.insertions, file.deletions)
        assert all(isinstance(words, str) for words in file.words)
