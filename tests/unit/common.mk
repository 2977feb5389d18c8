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
unit_tests += %D%/test_tn_str
%C%_test_tn_str_SOURCES = %D%/test_tn_str.c
%C%_test_tn_str_LDADD = $(TN_LIBS) $(CMOCKA_LIBS)
unit_tests += %D%/test_tn_worker_state
%C%_test_tn_worker_state_SOURCES = %D%/test_tn_worker_state.c
%C%_test_tn_worker_state_LDADD = $(TN_LIBS) $(CMOCKA_LIBS)
