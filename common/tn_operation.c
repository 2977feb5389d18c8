#include "config.h"

#include "tn_operation.h"

#include <inttypes.h>
#include <stdio.h>

#include "tn_err.h"

const char *
tn_operation_name(uint64_t number)
{
	switch (number) {
#define TN_OPERATION(SYM, num, sym, name, doc)	\
	case num:				\
		return name;
#include "operations.def"
	default:
		return NULL;
	}
}

void
tn_operation_put(struct tn_buf *out, struct tn_str text)
{
	unsigned char n[4] = { (unsigned char)(text.len >> 24), (unsigned char)(text.len >> 16),
		(unsigned char)(text.len >> 8), (unsigned char)text.len };

	if (text.len > TN_OPERATION_MAX) {
		out->failed = true;
		return;
	}
	tn_buf_append(out, n, sizeof(n));
	tn_buf_append(out, text.p, text.len);
}

void
tn_operation_put_u64(struct tn_buf *out, uint64_t n)
{
	char text[24];
	int len = snprintf(text, sizeof(text), "%" PRIu64, n);

	tn_operation_put(out, (struct tn_str){ text, (size_t)len });
}

int
tn_operation_take(struct tn_str *payload, struct tn_str *text)
{
	const unsigned char *p = (const unsigned char *)payload->p;
	size_t n;

	if (payload->len == 0)
		return TN_ENOENT;
	if (payload->len < 4)
		return TN_EPROTO;
	n = (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
	if (n > payload->len - 4)
		return TN_EPROTO;
	*text = (struct tn_str){ payload->p + 4, n };
	payload->p += 4 + n;
	payload->len -= 4 + n;
	return 0;
}

int
tn_operation_take_u64(struct tn_str *payload, uint64_t *n)
{
	struct tn_str text;
	uint64_t v = 0;
	size_t i;
	int rc = tn_operation_take(payload, &text);

	if (rc != 0)
		return rc;
	if (text.len == 0 || text.len > 20)
		return TN_EPROTO;
	for (i = 0; i < text.len; i++) {
		unsigned digit = (unsigned char)text.p[i] - (unsigned)'0';

		if (digit > 9 || v > (UINT64_MAX - digit) / 10)
			return TN_EPROTO;
		v = v * 10 + digit;
	}
	*n = v;
	return 0;
}
