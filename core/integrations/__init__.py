"""Programs outside that we speak to by their own protocols."""
