# Measurements; nothing here is built or run but by `make bench`.
EXTRA_DIST += %D%/run %D%/restore %D%/data %D%/soak %D%/tana_bench.py %D%/upgrade-soak

# The storage without requests around it, for data.
EXTRA_PROGRAMS = %D%/commits
%C%_commits_SOURCES = %D%/commits.c
%C%_commits_LDADD = $(SV_LIBS)
CLEANFILES += $(EXTRA_PROGRAMS)

# Requests at a constant rate, for run; tests/e2e/test_bench.py tests it.
check_PROGRAMS += %D%/paced
%C%_paced_SOURCES = %D%/paced.c %D%/histogram.c %D%/histogram.h
%C%_paced_LDADD = $(HTTP_PARSER_LIBS)

.PHONY: bench
bench: all %D%/commits
	$(PYTHON) $(srcdir)/%D%/run $(BENCHFLAGS) '$(abs_top_builddir)'
	-$(PYTHON) $(srcdir)/%D%/restore $(RESTOREFLAGS) '$(abs_top_builddir)'
	-$(PYTHON) $(srcdir)/%D%/data $(DATAFLAGS) '$(abs_top_builddir)'
