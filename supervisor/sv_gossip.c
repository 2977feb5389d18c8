/*
 * sv_gossip.c - what a child says on its standard error.
 */
#include "config.h"

#include "sv_gossip.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tn_clock.h"
#include "tn_err.h"
#include "tn_fd.h"
#include "tn_log.h"

#define LINE_MAX_BYTES	2048u		/* longer lines are cut into several records */
#define LINES_A_SECOND	50u

struct sv_gossip {
	char		 who[48];
	int		 fd;
	size_t		 len;
	struct tn_log_limit limit;
	char		 line[LINE_MAX_BYTES];
};

struct sv_gossip *
sv_gossip_new(const char *who, int *child_fd)
{
	struct sv_gossip *g;
	int p[2];

	if ((g = calloc(1, sizeof(*g))) == NULL)
		return NULL;
	if (pipe2(p, O_CLOEXEC | O_NONBLOCK) != 0) {
		free(g);
		return NULL;
	}
	g->fd = p[0];
	*child_fd = p[1];
	g->limit.burst = LINES_A_SECOND;
	(void)snprintf(g->who, sizeof(g->who), "%s", who);
	return g;
}

static void
say(struct sv_gossip *g, size_t len)
{
	struct tn_log_record r;
	uint64_t dropped = 0;

	if (len == 0 || !tn_log_allow(&g->limit, tn_clock_us(), &dropped))
		return;
	tn_log_begin(&r, TN_LOG_WARN, "a child says");
	tn_log_str(&r, "child", tn_str(g->who));
	tn_log_str(&r, "text", (struct tn_str){ g->line, len });
	if (dropped > 0)
		tn_log_u64(&r, "dropped", dropped);
	tn_log_end(&r);
}

static void
take_lines(struct sv_gossip *g)
{
	char *nl;
	size_t n;

	while ((nl = memchr(g->line, '\n', g->len)) != NULL) {
		n = (size_t)(nl - g->line);
		say(g, n);
		memmove(g->line, nl + 1, g->len - n - 1);
		g->len -= n + 1;
	}
	if (g->len == sizeof(g->line)) {
		say(g, g->len);
		g->len = 0;
	}
}

int
sv_gossip_read(struct sv_gossip *g)
{
	ssize_t n;
	int i;

	for (i = 0; i < 8; i++) {
		n = read(g->fd, g->line + g->len, sizeof(g->line) - g->len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return 0;
		if (n <= 0) {
			say(g, g->len);
			g->len = 0;
			return TN_ECLOSED;
		}
		g->len += (size_t)n;
		take_lines(g);
	}
	return 0;
}

int
sv_gossip_fd(const struct sv_gossip *g)
{
	return g->fd;
}

void
sv_gossip_free(struct sv_gossip **gp)
{
	struct sv_gossip *g = *gp;

	if (g == NULL)
		return;
	*gp = NULL;
	if (sv_gossip_read(g) == 0)
		say(g, g->len);
	tn_fd_close(&g->fd);
	free(g);
}
