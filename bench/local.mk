# Measurements; nothing here is built, or run but by `make bench`.
EXTRA_DIST += %D%/run

.PHONY: bench
bench: all
	$(PYTHON) $(srcdir)/%D%/run $(BENCHFLAGS) '$(abs_top_builddir)'
