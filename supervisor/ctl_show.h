/*
 * ctl_show.h - what the server answers, as tables for people and JSON for
 * programs.  Texts from the server are escaped: they may come from a contract.
 */
#ifndef CTL_SHOW_H
#define CTL_SHOW_H

#include <msgpack.h>
#include <stdio.h>

#include "tn_str.h"

/* One value of a map; NULL when it is no map or has no such key. */
const msgpack_object *ctl_get(const msgpack_object *map, const char *key);
/* A number out of it; -1: there is none. */
int64_t ctl_number(const msgpack_object *map, const char *key);

/* As people read them: 3.5M, 1h02m. */
void ctl_put_bytes(struct tn_buf *b, double bytes);
void ctl_put_seconds(struct tn_buf *b, double seconds);

/* 0; TN_EPROTO: not what the command answers; TN_ENOMEM. */
int ctl_show_json(FILE *out, const msgpack_object *o);
int ctl_show_status(FILE *out, const msgpack_object *o);
int ctl_show_storage(FILE *out, const msgpack_object *o);
int ctl_show_stats(FILE *out, const msgpack_object *o);
int ctl_show_workers(FILE *out, const msgpack_object *o);
int ctl_show_contracts(FILE *out, const msgpack_object *o);

#endif
