noinst_LIBRARIES += %D%/libsv.a
%C%_libsv_a_SOURCES = \
	%D%/sv_proto.h \
	%D%/sv_request.c \
	%D%/sv_request.h \
	%D%/sv_stats.c \
	%D%/sv_stats.h
