/*
 * tn_layers.h - the layers of the sandbox as a set of bits: what is in force,
 * what is required.  They come from layers.def.
 */
#ifndef TN_LAYERS_H
#define TN_LAYERS_H

#include <stddef.h>
#include <stdint.h>

enum tn_layer {
#define TN_LAYER(sym, bit, name, doc) TN_LAYER_##sym = bit,
#include "layers.def"
	TN_LAYER_ALL = 0
#define TN_LAYER(sym, bit, name, doc) | TN_LAYER_##sym
#include "layers.def"
};

struct tn_layer_info {
	uint32_t	 bit;
	const char	*name;		/* "seccomp" */
	const char	*doc;
};

/* All of them, in the table's order; *n: how many. */
const struct tn_layer_info *tn_layers(size_t *n);

/* Name of one bit; NULL when there is no such layer. */
const char *tn_layer_name(uint32_t bit);

/* Room for the names of all layers. */
#define TN_LAYERS_TEXT	128

/*
 * Write the set's names, apart by spaces, or "none"; bits without a name are
 * left out.  Returns out.
 */
char *tn_layers_text(uint32_t layers, char *out, size_t size);

#endif
