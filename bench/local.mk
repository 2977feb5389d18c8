# Measurements; nothing here is built or run but by `make bench`.
EXTRA_DIST += %D%/run %D%/restore %D%/data %D%/soak %D%/tana_bench.py %D%/upgrade-soak %D%/ablation %D%/isolates

# The storage without requests around it, for data.
EXTRA_PROGRAMS = %D%/commits
%C%_commits_SOURCES = %D%/commits.c
%C%_commits_LDADD = $(SV_LIBS)
CLEANFILES += $(EXTRA_PROGRAMS)

.PHONY: bench
bench: all %D%/commits
	$(PYTHON) $(srcdir)/%D%/run $(BENCHFLAGS) '$(abs_top_builddir)'
	-$(PYTHON) $(srcdir)/%D%/restore $(RESTOREFLAGS) '$(abs_top_builddir)'
	-$(PYTHON) $(srcdir)/%D%/data $(DATAFLAGS) '$(abs_top_builddir)'
