# worker/: tana-worker and what its tests link.
noinst_LIBRARIES += %D%/libwk.a
pkglibexec_PROGRAMS += tana-worker

%C%_libwk_a_SOURCES = \
	%D%/wk_alloc.c %D%/wk_alloc.h \
	%D%/wk_arena.c %D%/wk_arena.h \
	%D%/wk_builder.c %D%/wk_builder.h \
	%D%/wk_channel.c %D%/wk_channel.h \
	%D%/wk_deadline.c %D%/wk_deadline.h \
	%D%/wk_delta.c %D%/wk_delta.h \
	%D%/wk_duk.c %D%/wk_duk.h %D%/duk_config_tana.h \
	%D%/wk_heap.c %D%/wk_heap.h \
	%D%/wk_host.c %D%/wk_host.h \
	%D%/wk_pagemap.c %D%/wk_pagemap.h \
	%D%/wk_random.c %D%/wk_random.h \
	%D%/wk_ready.c %D%/wk_ready.h %D%/ready.def \
	%D%/wk_rehearsal.c %D%/wk_rehearsal.h \
	%D%/wk_restore.c %D%/wk_restore.h \
	%D%/wk_runtime.c %D%/wk_runtime.h \
	%D%/wk_text.c %D%/wk_text.h \
	%D%/wk_tool.c %D%/wk_tool.h \
	%D%/wk_worker.c %D%/wk_worker.h \
	%D%/wk_zygote.c %D%/wk_zygote.h
nodist_%C%_libwk_a_SOURCES = %D%/wk_runtime_data.c

# Duktape: its source behind our shim, in a library of its own with the flags of
# foreign code (configure says WK_DUK_SOURCE); or the system's library.
if DUKTAPE_SOURCE
noinst_LIBRARIES += %D%/libduk.a
# duk_shim.c includes it: Duktape's source with two macros that look at wk_duk_frozen.
%D%/duktape_frozen.c: $(DUKTAPE_DIR)/src/duktape.c %D%/mkfrozen.sh
	$(AM_V_GEN)$(MKDIR_P) %D% && \
	$(SHELL) $(srcdir)/%D%/mkfrozen.sh $(DUKTAPE_DIR)/src/duktape.c > $@.tmp && mv $@.tmp $@
%D%/libduk_a-duk_shim.$(OBJEXT): %D%/duktape_frozen.c
CLEANFILES += %D%/duktape_frozen.c %D%/duktape_frozen.c.tmp
%C%_libduk_a_SOURCES = %D%/duk_shim.c
%C%_libduk_a_CFLAGS = $(AM_CFLAGS) $(DUKTAPE_OWN_CFLAGS) -I%D%
WK_DUKTAPE = %D%/libduk.a
else
%C%_libwk_a_SOURCES += %D%/wk_duk_system.c
WK_DUKTAPE =
endif

# The two libraries need each other.
WK_LIBS = %D%/libwk.a $(WK_DUKTAPE) %D%/libwk.a $(POL_LIBS) $(DUKTAPE_LIBS)

tana_worker_SOURCES = %D%/wk_main.c
tana_worker_LDADD = $(WK_LIBS)

EXTRA_DIST += %D%/runtime %D%/mkruntime.sh %D%/mkfrozen.sh %D%/duk_shim.c %D%/wk_duk_system.c

# The runtime's files are embedded: made again whenever one of them changes.
WK_RUNTIME_FILES = $(shell $(srcdir)/%D%/mkruntime.sh -d $(srcdir)/%D%/runtime $(NODE_MODULES))
%D%/wk_runtime_data.c: %D%/mkruntime.sh %D%/runtime/ORDER $(WK_RUNTIME_FILES)
	$(AM_V_GEN)$(MKDIR_P) %D% && \
	$(SHELL) $(srcdir)/%D%/mkruntime.sh $(srcdir)/%D%/runtime $(NODE_MODULES) > $@.tmp && \
	mv $@.tmp $@
# (The assembler reads them; the compiler's dependencies do not know.)
%D%/wk_runtime_data.$(OBJEXT): $(WK_RUNTIME_FILES)
CLEANFILES += %D%/wk_runtime_data.c %D%/wk_runtime_data.c.tmp

include %D%/toolchain/local.mk
