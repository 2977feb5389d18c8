/*
 * wk_zygote.h - the warm process that workers and builders are forked from
 * (tn_zygote.h has its messages).
 */
#ifndef WK_ZYGOTE_H
#define WK_ZYGOTE_H

/* `tana-worker --zygote`; returns the exit status. */
int wk_zygote_main(void);

#endif
