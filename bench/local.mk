# Measurements; nothing here is run but by `make bench`, and paced by a test.
EXTRA_DIST += \
	%D%/ablation \
	%D%/data \
	%D%/isolates \
	%D%/restore \
	%D%/run \
	%D%/soak \
	%D%/tana_bench.py \
	%D%/tana_goals.py \
	%D%/tana_noise.py \
	%D%/tana_peers.py \
	%D%/tana_report.py \
	%D%/tana_results.py \
	%D%/tana_scenarios.py \
	%D%/upgrade-soak

# The servers beside us: what they do, and how they are set up.
EXTRA_DIST += \
	%D%/peers/.npmrc \
	%D%/peers/fetch.js \
	%D%/peers/nginx.conf.in \
	%D%/peers/njs.js \
	%D%/peers/node.js \
	%D%/peers/package-lock.json \
	%D%/peers/package.json \
	%D%/peers/php-fpm.conf.in \
	%D%/peers/work.js \
	%D%/peers/work.php \
	%D%/peers/workerd.capnp.in

# The storage without requests around it, for data.
EXTRA_PROGRAMS = %D%/commits
%C%_commits_SOURCES = %D%/commits.c
%C%_commits_LDADD = $(SV_LIBS)
CLEANFILES += $(EXTRA_PROGRAMS)

# Requests at a constant rate, for run; tests/e2e/test_bench.py tests it.
check_PROGRAMS += %D%/paced
%C%_paced_SOURCES = %D%/paced.c %D%/histogram.c %D%/histogram.h
%C%_paced_LDADD = $(HTTP_PARSER_LIBS)

# BENCHFLAGS='--quick', '--also restore,data', ...: see `bench/run --help`.
.PHONY: bench
bench: all %D%/paced %D%/commits
	$(PYTHON) $(srcdir)/%D%/run $(BENCHFLAGS) '$(abs_top_builddir)'
