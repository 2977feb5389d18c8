/*
 * pol_err.h - why something failed, in the words that go to the log.
 */
#ifndef POL_ERR_H
#define POL_ERR_H

#include "pol_sandbox.h"

/*
 * "what: text of errno" into err.  Returns TN_EUNAVAIL when errno says that the
 * kernel has no such thing, else TN_ESYS.
 */
int pol_err(char err[POL_ERR_MAX], const char *what);

#endif
