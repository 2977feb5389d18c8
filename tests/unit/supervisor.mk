# For each test:
#	unit_tests += %D%/test_x
#	%C%_test_x_SOURCES = %D%/test_x.c
#	%C%_test_x_LDADD = $(SV_LIBS) $(CMOCKA_LIBS)
unit_tests += %D%/test_sv_policy
%C%_test_sv_policy_SOURCES = %D%/test_sv_policy.c
%C%_test_sv_policy_LDADD = $(SV_LIBS) $(CMOCKA_LIBS)
unit_tests += %D%/test_sv_image
%C%_test_sv_image_SOURCES = %D%/test_sv_image.c
%C%_test_sv_image_LDADD = $(SV_LIBS) $(CMOCKA_LIBS)
unit_tests += %D%/test_sv_contract
%C%_test_sv_contract_SOURCES = %D%/test_sv_contract.c
%C%_test_sv_contract_LDADD = $(SV_LIBS) $(CMOCKA_LIBS)
unit_tests += %D%/test_sv_master
%C%_test_sv_master_SOURCES = %D%/test_sv_master.c
%C%_test_sv_master_LDADD = $(SV_LIBS) $(CMOCKA_LIBS)
