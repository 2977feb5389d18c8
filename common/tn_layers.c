#include "config.h"

#include "tn_layers.h"

#include <stdio.h>

static const struct tn_layer_info table[] = {
#define TN_LAYER(sym, bit, name, doc) { bit, name, doc },
#include "layers.def"
};

#define NLAYERS	(sizeof(table) / sizeof(table[0]))

const struct tn_layer_info *
tn_layers(size_t *n)
{
	*n = NLAYERS;
	return table;
}

const char *
tn_layer_name(uint32_t bit)
{
	for (size_t i = 0; i < NLAYERS; i++)
		if (table[i].bit == bit)
			return table[i].name;
	return NULL;
}

char *
tn_layers_text(uint32_t layers, char *out, size_t size)
{
	size_t at = 0;

	if (size == 0)
		return out;
	out[0] = '\0';
	for (size_t i = 0; i < NLAYERS; i++) {
		int n;

		if ((layers & table[i].bit) == 0)
			continue;
		n = snprintf(out + at, size - at, "%s%s", at > 0 ? " " : "", table[i].name);
		if (n < 0 || (size_t)n >= size - at) {
			out[at] = '\0';		/* whole names only */
			return out;
		}
		at += (size_t)n;
	}
	if (at == 0)
		(void)snprintf(out, size, "none");
	return out;
}
