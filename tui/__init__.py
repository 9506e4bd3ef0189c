"""The screen: a viewer and commander over the table of commands. It holds no logic of the product, and nothing is lost when it dies.

Rules of the room, for whoever adds to it:

- Widgets never touch the database: they subscribe with the store (``store.subscribe(self, topics, load)``) and show what comes as ``Fresh``; whatever
  changes anything is a command of the table, given by an action (``tui/actions.py``) through ``app.do``.
- Every key is an action of a module of ``tui/acts`` that :data:`tui.actions.MODULES` names. A widget that wants keys has ``scopes`` and, where there is
  something under its cursor, ``subject()``. The scope ``motion`` asks for ``move``, ``page`` and ``jump``; ``rows`` is a :class:`tui.widgets.rows.Rows`.
- A full screen is a :class:`tui.screens.base.BaseScreen`, entered in :data:`tui.screens.PLACES`, opened with ``app.open("task", task="42")``.
- Lines are written with :class:`tui.ink.Ink` from parts (text, tone), painted by :class:`tui.widgets.lines.Lines`, which refreshes only cells that differ.
  Texts that are not ours pass :func:`tui.ink.plain` (or :mod:`tui.safe_text`, with colours) first. No markup, no blinking, no animation.
"""
