#!/bin/sh
# mkfrozen.sh DUKTAPE.C - Duktape's source, to standard output, in which counting
# references passes over what wk_duk_freeze() has named.  Both macros must be found
# exactly once, or this is not the source that we know.
set -e
sed -e 's|^#define DUK_HEAPHDR_PREINC_REFCOUNT(h) (++(h)->h_refcount) .*|#define DUK_HEAPHDR_PREINC_REFCOUNT(h) (WK_DUK_FROZEN(h) ? 1u : ++(h)->h_refcount)|' \
    -e 's|^#define DUK_HEAPHDR_PREDEC_REFCOUNT(h) (--(h)->h_refcount) .*|#define DUK_HEAPHDR_PREDEC_REFCOUNT(h) (WK_DUK_FROZEN(h) ? 1u : --(h)->h_refcount)|' "$1"
for m in PREINC PREDEC; do
	if [ "$(grep -c "^#define DUK_HEAPHDR_${m}_REFCOUNT(h) (.*(h)->h_refcount)" "$1")" -ne 1 ]; then
		echo "mkfrozen.sh: $1: DUK_HEAPHDR_${m}_REFCOUNT is not as in Duktape 2.7.0" >&2
		exit 1
	fi
done
