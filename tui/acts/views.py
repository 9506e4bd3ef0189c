"""Actions of the screens of a task and of the figures."""
