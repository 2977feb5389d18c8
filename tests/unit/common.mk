# For each test:
#	unit_tests += %D%/test_x
#	%C%_test_x_SOURCES = %D%/test_x.c
#	%C%_test_x_LDADD = $(TN_LIBS) $(CMOCKA_LIBS)
unit_tests += %D%/test_tn_err
%C%_test_tn_err_SOURCES = %D%/test_tn_err.c
%C%_test_tn_err_LDADD = $(TN_LIBS) $(CMOCKA_LIBS)
unit_tests += %D%/test_tn_fd
%C%_test_tn_fd_SOURCES = %D%/test_tn_fd.c
%C%_test_tn_fd_LDADD = $(TN_LIBS) $(CMOCKA_LIBS)
# Frames and log records are made where nothing can be allocated any more.
count_allocations = -Wl,--wrap=malloc -Wl,--wrap=calloc -Wl,--wrap=realloc
unit_tests += %D%/test_tn_frame
%C%_test_tn_frame_SOURCES = %D%/test_tn_frame.c
%C%_test_tn_frame_LDADD = $(TN_LIBS) $(CMOCKA_LIBS)
%C%_test_tn_frame_LDFLAGS = $(AM_LDFLAGS) $(count_allocations)
unit_tests += %D%/test_tn_log
%C%_test_tn_log_SOURCES = %D%/test_tn_log.c
%C%_test_tn_log_LDADD = $(TN_LIBS) $(JANSSON_LIBS) $(CMOCKA_LIBS)
%C%_test_tn_log_LDFLAGS = $(AM_LDFLAGS) $(count_allocations)
unit_tests += %D%/test_tn_options
%C%_test_tn_options_SOURCES = %D%/test_tn_options.c
%C%_test_tn_options_LDADD = $(TN_LIBS) $(CMOCKA_LIBS)
unit_tests += %D%/test_tn_rpc
%C%_test_tn_rpc_SOURCES = %D%/test_tn_rpc.c
%C%_test_tn_rpc_LDADD = $(TN_LIBS) $(CMOCKA_LIBS)
unit_tests += %D%/test_tn_slots
%C%_test_tn_slots_SOURCES = %D%/test_tn_slots.c
%C%_test_tn_slots_CFLAGS = $(AM_CFLAGS) -pthread
%C%_test_tn_slots_LDADD = $(TN_LIBS) $(CMOCKA_LIBS)
unit_tests += %D%/test_tn_str
%C%_test_tn_str_SOURCES = %D%/test_tn_str.c
%C%_test_tn_str_LDADD = $(TN_LIBS) $(CMOCKA_LIBS)
unit_tests += %D%/test_tn_worker_state
%C%_test_tn_worker_state_SOURCES = %D%/test_tn_worker_state.c
%C%_test_tn_worker_state_LDADD = $(TN_LIBS) $(CMOCKA_LIBS)
unit_tests += %D%/test_tn_operation
%C%_test_tn_operation_SOURCES = %D%/test_tn_operation.c
%C%_test_tn_operation_LDADD = $(TN_LIBS) $(CMOCKA_LIBS)
# What bench/paced counts in.
unit_tests += %D%/test_histogram
%C%_test_histogram_SOURCES = %D%/test_histogram.c bench/histogram.c bench/histogram.h
%C%_test_histogram_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/bench
%C%_test_histogram_LDADD = $(CMOCKA_LIBS)
