/*
 * wk_rehearsal.h - which pages a request writes to, found out beforehand.
 */
#ifndef WK_REHEARSAL_H
#define WK_REHEARSAL_H

/*
 * In a zygote, once the base is mapped, the way to restore chosen and a pagemap open:
 * load a contract of our own, make a request to it, and remember the pages that were
 * written (wk_restore_learn), so that workers have them before their first request:
 * with a fault each that one would take several times as long.  The arena is the base
 * again afterwards, with all its pages mapped (wk_arena_populate).  It cannot fail: at worst nothing is learned.  TN_ESYS: the arena
 * cannot be put back.
 */
int wk_rehearse(void);

#endif
