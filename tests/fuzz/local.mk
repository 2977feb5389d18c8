# Each fuzz target with replay.c: `make check` replays its corpus.
fuzz_targets = frame options rpc
fuzz_tests = %D%/fuzz_frame %D%/fuzz_options %D%/fuzz_rpc
%C%_fuzz_frame_SOURCES = %D%/fuzz_frame.c %D%/replay.c %D%/fuzz.h
%C%_fuzz_frame_LDADD = $(TN_LIBS)
%C%_fuzz_options_SOURCES = %D%/fuzz_options.c %D%/replay.c %D%/fuzz.h
%C%_fuzz_options_LDADD = $(TN_LIBS)
%C%_fuzz_rpc_SOURCES = %D%/fuzz_rpc.c %D%/replay.c %D%/fuzz.h
%C%_fuzz_rpc_LDADD = $(TN_LIBS)
fuzz_tests += %D%/fuzz_trace
%C%_fuzz_trace_SOURCES = %D%/fuzz_trace.c %D%/replay.c %D%/fuzz.h
%C%_fuzz_trace_LDADD = $(SV_LIBS)
fuzz_tests += %D%/fuzz_http
%C%_fuzz_http_SOURCES = %D%/fuzz_http.c %D%/replay.c %D%/fuzz.h
%C%_fuzz_http_LDADD = $(SV_LIBS)
fuzz_tests += %D%/fuzz_invoke
%C%_fuzz_invoke_SOURCES = %D%/fuzz_invoke.c %D%/replay.c %D%/fuzz.h
%C%_fuzz_invoke_LDADD = $(SV_LIBS)
fuzz_tests += %D%/fuzz_client
%C%_fuzz_client_SOURCES = %D%/fuzz_client.c %D%/replay.c %D%/fuzz.h
%C%_fuzz_client_LDADD = $(SV_LIBS)
fuzz_tests += %D%/fuzz_commit
%C%_fuzz_commit_SOURCES = %D%/fuzz_commit.c %D%/replay.c %D%/fuzz.h
%C%_fuzz_commit_LDADD = $(SV_LIBS)
check_PROGRAMS += $(fuzz_tests)
TESTS += $(fuzz_tests)
EXTRA_DIST += %D%/corpus

# The same with libFuzzer in place of replay.c: NAME.fuzzer, see HACKING.
FUZZ_CC = clang
FUZZ_CFLAGS = -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined
fuzz_http_sources = $(patsubst %,$(top_srcdir)/supervisor/sv_%.c, \
	forwarded http http_check http_conn http_reply request route stats)
fuzz_client_sources = $(patsubst %,$(top_srcdir)/supervisor/sv_%.c, \
	accept client http_check http_reply invoke request route stats)
fuzz_invoke_sources = $(patsubst %,$(top_srcdir)/supervisor/sv_%.c, \
	http_check http_reply invoke request route)
CLEANFILES += client.fuzzer commit.fuzzer frame.fuzzer http.fuzzer invoke.fuzzer options.fuzzer rpc.fuzzer \
	trace.fuzzer
.PHONY: fuzzers
fuzzers:
	for t in $(fuzz_targets); do \
		$(FUZZ_CC) -std=gnu17 $(FUZZ_CFLAGS) $(DEFS) $(DEFAULT_INCLUDES) $(AM_CPPFLAGS) \
		    -o $$t.fuzzer $(top_srcdir)/tests/fuzz/fuzz_$$t.c $(top_srcdir)/common/*.c \
		    $(MSGPACK_LIBS) $(CONFUSE_LIBS) || exit 1; \
	done
	$(FUZZ_CC) -std=gnu17 $(FUZZ_CFLAGS) $(DEFS) $(DEFAULT_INCLUDES) $(AM_CPPFLAGS) \
	    -o commit.fuzzer $(top_srcdir)/tests/fuzz/fuzz_commit.c $(top_srcdir)/common/*.c \
	    $(top_srcdir)/supervisor/sv_storage.c $(MSGPACK_LIBS) $(CONFUSE_LIBS)
	$(FUZZ_CC) -std=gnu17 $(FUZZ_CFLAGS) $(DEFS) $(DEFAULT_INCLUDES) $(AM_CPPFLAGS) \
	    -o http.fuzzer $(top_srcdir)/tests/fuzz/fuzz_http.c $(top_srcdir)/common/*.c \
	    $(fuzz_http_sources) $(MSGPACK_LIBS) $(CONFUSE_LIBS) $(EVENT_LIBS) $(HTTP_PARSER_LIBS)
	$(FUZZ_CC) -std=gnu17 $(FUZZ_CFLAGS) $(DEFS) $(DEFAULT_INCLUDES) $(AM_CPPFLAGS) \
	    -o invoke.fuzzer $(top_srcdir)/tests/fuzz/fuzz_invoke.c $(top_srcdir)/common/*.c \
	    $(fuzz_invoke_sources) $(MSGPACK_LIBS) $(CONFUSE_LIBS) $(HTTP_PARSER_LIBS) $(JANSSON_LIBS) -lm
	$(FUZZ_CC) -std=gnu17 $(FUZZ_CFLAGS) $(DEFS) $(DEFAULT_INCLUDES) $(AM_CPPFLAGS) \
	    -o client.fuzzer $(top_srcdir)/tests/fuzz/fuzz_client.c $(top_srcdir)/common/*.c \
	    $(fuzz_client_sources) $(MSGPACK_LIBS) $(CONFUSE_LIBS) $(EVENT_LIBS) $(HTTP_PARSER_LIBS) -lm
	$(FUZZ_CC) -std=gnu17 $(FUZZ_CFLAGS) $(DEFS) $(DEFAULT_INCLUDES) $(AM_CPPFLAGS) \
	    -o trace.fuzzer $(top_srcdir)/tests/fuzz/fuzz_trace.c $(top_srcdir)/common/*.c \
	    $(top_srcdir)/supervisor/sv_trace.c $(MSGPACK_LIBS) $(CONFUSE_LIBS)
