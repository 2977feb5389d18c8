/*
 * sv_place.h - where a contract's files stand, below the contracts directory.
 *
 *	ID/				a directory, edited by hand
 *	ID -> .versions/ID/HASH		a version that `tana deploy` made
 *
 * Any other link is refused: it could lead to another tenant's files, or out
 * of the directory.
 */
#ifndef SV_PLACE_H
#define SV_PLACE_H

/*
 * Open a contract's directory; all its files are then found through the
 * descriptor, so that a switch of the link cannot mix two versions.  `id` is a
 * well-formed identifier.  TN_ENOENT: there is none (a plain file is none);
 * other TN_E codes: it cannot be had, *why says in static text for what reason.
 */
int sv_place_open(int contracts_fd, const char *id, const char **why);

#endif
