unit_tests += %D%/test_wk_alloc %D%/test_wk_arena %D%/test_wk_channel %D%/test_wk_deadline \
	%D%/test_wk_random %D%/test_wk_text
%C%_test_wk_alloc_SOURCES = %D%/test_wk_alloc.c
%C%_test_wk_alloc_LDADD = $(WK_LIBS) $(CMOCKA_LIBS)
%C%_test_wk_arena_SOURCES = %D%/test_wk_arena.c
%C%_test_wk_arena_LDADD = $(WK_LIBS) $(CMOCKA_LIBS)
%C%_test_wk_channel_SOURCES = %D%/test_wk_channel.c
%C%_test_wk_channel_LDADD = $(WK_LIBS) $(CMOCKA_LIBS)
%C%_test_wk_deadline_SOURCES = %D%/test_wk_deadline.c
%C%_test_wk_deadline_LDADD = $(WK_LIBS) $(CMOCKA_LIBS)
%C%_test_wk_random_SOURCES = %D%/test_wk_random.c
%C%_test_wk_random_LDADD = $(WK_LIBS) $(CMOCKA_LIBS)
%C%_test_wk_text_SOURCES = %D%/test_wk_text.c
%C%_test_wk_text_LDADD = $(WK_LIBS) $(CMOCKA_LIBS)
unit_tests += %D%/test_wk_restore
%C%_test_wk_restore_SOURCES = %D%/test_wk_restore.c
%C%_test_wk_restore_LDADD = $(WK_LIBS) $(CMOCKA_LIBS)
