# Measurements; nothing here is built, or run but by `make bench`.
EXTRA_DIST += %D%/run %D%/restore %D%/data %D%/soak %D%/tana_bench.py %D%/upgrade-soak

.PHONY: bench
bench: all
	$(PYTHON) $(srcdir)/%D%/run $(BENCHFLAGS) '$(abs_top_builddir)'
	-$(PYTHON) $(srcdir)/%D%/restore $(RESTOREFLAGS) '$(abs_top_builddir)'
	-$(PYTHON) $(srcdir)/%D%/data $(DATAFLAGS) '$(abs_top_builddir)'
