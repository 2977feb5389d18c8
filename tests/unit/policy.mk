# For each test:
#	unit_tests += %D%/test_x
#	%C%_test_x_SOURCES = %D%/test_x.c
#	%C%_test_x_LDADD = $(POL_LIBS) $(CMOCKA_LIBS)
unit_tests += %D%/test_pol_filter
%C%_test_pol_filter_SOURCES = \
	%D%/pol_oracle.c \
	%D%/pol_oracle.h \
	%D%/pol_sim.c \
	%D%/pol_sim.h \
	%D%/test_pol_filter.c
%C%_test_pol_filter_LDADD = $(POL_LIBS) $(CMOCKA_LIBS)
unit_tests += %D%/test_pol_live
%C%_test_pol_live_SOURCES = \
	%D%/pol_jail.c \
	%D%/pol_jail.h \
	%D%/pol_oracle.c \
	%D%/pol_oracle.h \
	%D%/test_pol_live.c
%C%_test_pol_live_LDADD = $(POL_LIBS) $(CMOCKA_LIBS)
unit_tests += %D%/test_pol_layers
%C%_test_pol_layers_SOURCES = \
	%D%/pol_jail.c \
	%D%/pol_jail.h \
	%D%/test_pol_layers.c
%C%_test_pol_layers_LDADD = $(POL_LIBS) $(CMOCKA_LIBS)
EXTRA_DIST += \
	tests/golden/seccomp.builder.x86_64.pfc \
	tests/golden/seccomp.tool.x86_64.pfc \
	tests/golden/seccomp.worker.drop.x86_64.pfc \
	tests/golden/seccomp.worker.pagemap.x86_64.pfc \
	tests/golden/seccomp.worker.scan.x86_64.pfc \
	tests/golden/seccomp.zygote.drop.x86_64.pfc \
	tests/golden/seccomp.zygote.pagemap.x86_64.pfc \
	tests/golden/seccomp.zygote.scan.x86_64.pfc
# Written when they differ from the golden ones.
CLEANFILES += \
	tests/unit/seccomp.builder.x86_64.pfc \
	tests/unit/seccomp.tool.x86_64.pfc \
	tests/unit/seccomp.worker.drop.x86_64.pfc \
	tests/unit/seccomp.worker.pagemap.x86_64.pfc \
	tests/unit/seccomp.worker.scan.x86_64.pfc \
	tests/unit/seccomp.zygote.drop.x86_64.pfc \
	tests/unit/seccomp.zygote.pagemap.x86_64.pfc \
	tests/unit/seccomp.zygote.scan.x86_64.pfc
