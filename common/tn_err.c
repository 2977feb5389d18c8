#include "config.h"

#include "tn_err.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "tn_log.h"

static const char *const err_texts[] = {
	"no error",
#define TN_ERR(sym, text) text,
#include "errors.def"
};

static const struct tn_fault_info faults[] = {
	{ "NONE", 200, "ok", "" },
#define TN_FAULT(sym, status, code, message) { #sym, status, code, message },
#include "errors.def"
};

const char *
tn_strerror(int err)
{
	unsigned n = 0u - (unsigned)err;

	return n < sizeof(err_texts) / sizeof(err_texts[0]) ? err_texts[n] : "unknown error";
}

const struct tn_fault_info *
tn_fault_info(unsigned fault)
{
	return &faults[fault < TN_FAULT_MAX ? fault : TN_FAULT_INTERNAL];
}

void
tn_panic(const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	tn_log(TN_LOG_ERROR, "panic: %s", text);
	abort();
}

void
tn_fatal(enum tn_exit code, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	tn_log(TN_LOG_ERROR, "%s", text);
	exit((int)code);
}
