noinst_LIBRARIES += %D%/libpol.a
%C%_libpol_a_SOURCES = \
	%D%/pol_err.c \
	%D%/pol_err.h \
	%D%/pol_fds.c \
	%D%/pol_filter.c \
	%D%/pol_filter.h \
	%D%/pol_ident.c \
	%D%/pol_kernel.c \
	%D%/pol_landlock.c \
	%D%/pol_layers.h \
	%D%/pol_limits.c \
	%D%/pol_pagemap.c \
	%D%/pol_root.c \
	%D%/pol_rules.c \
	%D%/pol_rules.h \
	%D%/pol_sandbox.c \
	%D%/pol_sandbox.h \
	%D%/pol_tool.c
