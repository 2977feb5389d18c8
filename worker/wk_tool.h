/*
 * wk_tool.h - tana-worker as a tool: check a contract, run one request, without
 * a server and without a sandbox (a limit on CPU time holds all the same).
 */
#ifndef WK_TOOL_H
#define WK_TOOL_H

/* The command line behind --check or --run; returns the exit status. */
int wk_tool_check(int argc, char **argv);
int wk_tool_run(int argc, char **argv);

#endif
