noinst_LIBRARIES += %D%/libpol.a
%C%_libpol_a_SOURCES =
