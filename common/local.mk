noinst_LIBRARIES += %D%/libtn.a
%C%_libtn_a_SOURCES = \
	%D%/commands.def \
	%D%/errors.def \
	%D%/frames.def \
	%D%/layers.def \
	%D%/methods.def \
	%D%/metrics.def \
	%D%/operations.def \
	%D%/options.def \
	%D%/phases.def \
	%D%/states.def \
	%D%/tn_clock.h \
	%D%/tn_err.c \
	%D%/tn_err.h \
	%D%/tn_fd.c \
	%D%/tn_fd.h \
	%D%/tn_frame.c \
	%D%/tn_frame.h \
	%D%/tn_layers.c \
	%D%/tn_layers.h \
	%D%/tn_log.c \
	%D%/tn_log.h \
	%D%/tn_operation.c \
	%D%/tn_operation.h \
	%D%/tn_options.c \
	%D%/tn_options.h \
	%D%/tn_rpc.c \
	%D%/tn_rpc.h \
	%D%/tn_slots.h \
	%D%/tn_str.c \
	%D%/tn_str.h \
	%D%/tn_worker_state.c \
	%D%/tn_worker_state.h \
	%D%/tn_zygote.h
