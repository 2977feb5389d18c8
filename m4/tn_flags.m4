# TN_CFLAG(VARIABLE, FLAG): append FLAG to VARIABLE if the compiler takes it
# without a word, on top of what VARIABLE and CFLAGS hold already.
AC_DEFUN([TN_CFLAG], [
	AC_MSG_CHECKING([whether $CC accepts $2])
	tn_save_CFLAGS=$CFLAGS
	CFLAGS="$CFLAGS $$1 -Werror $2"
	AC_COMPILE_IFELSE([AC_LANG_PROGRAM([[#include <string.h>]],
	    [[char a[8]; memset(a, 0, sizeof a); return a[0];]])],
	    [AC_MSG_RESULT([yes]); $1="$$1 $2"; tn_flag=yes],
	    [AC_MSG_RESULT([no]); tn_flag=no])
	CFLAGS=$tn_save_CFLAGS
])

# TN_LDFLAG(VARIABLE, FLAG): the same for the linker.
AC_DEFUN([TN_LDFLAG], [
	AC_MSG_CHECKING([whether the linker accepts $2])
	tn_save_CFLAGS=$CFLAGS
	tn_save_LDFLAGS=$LDFLAGS
	CFLAGS="$CFLAGS $HARDENING_CFLAGS $SANITIZER_CFLAGS -Werror"
	LDFLAGS="$LDFLAGS $$1 $2"
	AC_LINK_IFELSE([AC_LANG_PROGRAM([], [])],
	    [AC_MSG_RESULT([yes]); $1="$$1 $2"; tn_flag=yes],
	    [AC_MSG_RESULT([no]); tn_flag=no])
	CFLAGS=$tn_save_CFLAGS
	LDFLAGS=$tn_save_LDFLAGS
])
