# For each test:
#	unit_tests += %D%/test_x
#	%C%_test_x_SOURCES = %D%/test_x.c
#	%C%_test_x_LDADD = $(POL_LIBS) $(CMOCKA_LIBS)
