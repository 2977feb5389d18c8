/*
 * sv_openmetrics.h - what is counted, as an OpenMetrics 1.0 text.
 *
 * All of it comes from metrics.def, phases.def and states.def: an entry there is a
 * metric family here, named tana_edge_NAME.  Times are in seconds, sizes in bytes.
 * A histogram's `le` are those whole microseconds below a power of two at which one of
 * sv_histogram's buckets ends, so that what is counted below each is exact.
 *
 * Pure: it only appends.
 */
#ifndef SV_OPENMETRICS_H
#define SV_OPENMETRICS_H

#include "sv_stats.h"
#include "tn_str.h"

#define SV_OPENMETRICS_TYPE "application/openmetrics-text; version=1.0.0; charset=utf-8"

/* Answers of one contract, by class of status. */
struct sv_openmetrics_contract {
	const char	*id;
	uint64_t	 answers[SV_STATUSES];
};

/*
 * Append the whole text.  What the contracts given have not answered is shown as
 * that of contract="".  out->failed: no memory.
 */
void sv_openmetrics(struct tn_buf *out, const struct sv_stats *st,
    const struct sv_openmetrics_contract *contracts, size_t n);

/* Append s as the inside of a label's value, or of a help text. */
void sv_openmetrics_escape(struct tn_buf *out, struct tn_str s);

#endif
