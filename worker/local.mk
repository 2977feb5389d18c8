noinst_LIBRARIES += %D%/libwk.a
%C%_libwk_a_SOURCES = \
	%D%/wk_alloc.c \
	%D%/wk_alloc.h \
	%D%/wk_arena.c \
	%D%/wk_arena.h \
	%D%/wk_deadline.c \
	%D%/wk_deadline.h \
	%D%/wk_duk.c \
	%D%/wk_duk.h \
	%D%/wk_random.c \
	%D%/wk_random.h \
	%D%/wk_text.c \
	%D%/wk_text.h

# Duktape: its source behind our shim, with the flags of foreign code; or the
# system's library.
if DUKTAPE_SOURCE
noinst_LIBRARIES += %D%/libduk.a
%C%_libduk_a_SOURCES = \
	%D%/duk_config_tana.h \
	%D%/duk_shim.c
%C%_libduk_a_CFLAGS = $(AM_CFLAGS) $(DUKTAPE_OWN_CFLAGS)
WK_DUKTAPE = %D%/libduk.a
EXTRA_DIST += %D%/wk_duk_system.c
else
%C%_libwk_a_SOURCES += \
	%D%/duk_config_tana.h \
	%D%/wk_duk_system.c
WK_DUKTAPE =
EXTRA_DIST += %D%/duk_shim.c
endif
