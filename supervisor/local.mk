noinst_LIBRARIES += %D%/libsv.a
%C%_libsv_a_SOURCES = \
	%D%/sv_contract.c %D%/sv_contract.h \
	%D%/sv_control.c %D%/sv_control.h \
	%D%/sv_dispatch.c %D%/sv_dispatch.h \
	%D%/sv_generation.c %D%/sv_generation.h \
	%D%/sv_image.c %D%/sv_image.h \
	%D%/sv_lower.c %D%/sv_lower.h \
	%D%/sv_policy.c %D%/sv_policy.h \
	%D%/sv_pool.c %D%/sv_pool.h \
	%D%/sv_worker.c %D%/sv_worker.h \
	%D%/sv_proto.h \
	%D%/sv_request.c \
	%D%/sv_request.h \
	%D%/sv_stats.c \
	%D%/sv_stats.h
