# Measurements; nothing here is built or run by default.
EXTRA_DIST +=
