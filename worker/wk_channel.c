#include "config.h"

#include "wk_channel.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tn_clock.h"
#include "wk_deadline.h"

#define SEND_BYTES	((size_t)TN_FRAME_MAX + 4096)
static struct {
	int			 fd;
	char			*rx;
	size_t			 cap;
	size_t			 start;		/* first byte not consumed */
	size_t			 end;
	size_t			 held;		/* bytes that the last frame borrows */
	size_t			 held_at;	/* behind start: what is before them waits */
	struct tn_frame_decoder	*decoder;
	struct tn_buf		 tx;
	struct tn_slots		*slots;
	uint64_t		 received;	/* bytes, ever */
} ch;

static void *
map_memory(size_t bytes)
{
	void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

size_t
wk_channel_memory(size_t receive_bytes)
{
	/* The decoder's lists, and what malloc takes in one go. */
	return TN_FRAME_MAX + 4 + receive_bytes + SEND_BYTES + ((size_t)1 << 20);
}

int
wk_channel_open(int fd, size_t receive_bytes)
{
	void *tx;

	memset(&ch, 0, sizeof(ch));
	ch.fd = fd;
	ch.cap = TN_FRAME_MAX + 4 + receive_bytes;
	ch.rx = map_memory(ch.cap);
	tx = map_memory(SEND_BYTES);
	ch.decoder = tn_frame_decoder_new(0);
	if (ch.rx == NULL || tx == NULL || ch.decoder == NULL)
		return TN_ENOMEM;
	tn_buf_init_fixed(&ch.tx, tx, SEND_BYTES);
	return 0;
}

void
wk_channel_close(void)
{
	(void)close(ch.fd);
	(void)munmap(ch.rx, ch.cap);
	(void)munmap(ch.tx.p, SEND_BYTES);
	tn_frame_decoder_free(&ch.decoder);
}

static void
release_held(void)
{
	if (ch.held_at == 0) {
		ch.start += ch.held;
	} else if (ch.held > 0) {
		char *p = ch.rx + ch.start + ch.held_at;

		memmove(p, p + ch.held, ch.end - ch.start - ch.held_at - ch.held);
		ch.end -= ch.held;
	}
	ch.held = ch.held_at = 0;
	if (ch.start == ch.end)
		ch.start = ch.end = 0;
}

void
wk_channel_watch(struct tn_slots *slots)
{
	ch.slots = slots;
}

/* Something has been sent, or has not for as long as the front said. */
static void
watch(void)
{
	uint64_t start;
	uint32_t us;

	if (ch.slots == NULL ||
	    (us = atomic_load_explicit(&ch.slots->spin_us, memory_order_relaxed)) == 0)
		return;
	start = tn_clock_us();
	while (atomic_load_explicit(&ch.slots->sent, memory_order_acquire) <= ch.received &&
	    tn_clock_us() - start < us)
		;
}

/* Read what there is, waiting for one byte; TN_EAGAIN: a signal came. */
static int
receive(size_t missing)
{
	ssize_t n;

	if (missing > ch.cap - ch.end && ch.start > 0) {
		memmove(ch.rx, ch.rx + ch.start, ch.end - ch.start);
		ch.end -= ch.start;
		ch.start = 0;
	}
	if (missing > ch.cap - ch.end)
		return TN_ELIMIT;
	watch();
	/*
	 * Who waits in recv() on such a socket is woken each time that the other side has
	 * read what was sent before; who polls is not.
	 */
	if (ppoll(&(struct pollfd){ .fd = ch.fd, .events = POLLIN }, 1, NULL, NULL) < 0)
		return errno == EINTR ? TN_EAGAIN : TN_ESYS;
	/* recv, not recvmsg: what descriptors anybody sent are closed unseen. */
	n = recv(ch.fd, ch.rx + ch.end, ch.cap - ch.end, 0);
	if (n < 0) {
		if (errno == EINTR)
			return TN_EAGAIN;
		return errno == ECONNRESET ? TN_ECLOSED : TN_ESYS;
	}
	if (n == 0)
		return TN_ECLOSED;
	ch.end += (size_t)n;
	ch.received += (uint64_t)n;
	return 0;
}

int
wk_channel_next(struct tn_frame *f)
{
	size_t used;
	int rc;

	release_held();
	for (;;) {
		size_t have = ch.end - ch.start;

		rc = tn_frame_decode(ch.decoder, TN_DIR_TO_WORKER, ch.rx + ch.start, have, f, &used);
		if (rc == 0) {
			ch.held = used;
			return 0;
		}
		if (rc != TN_EAGAIN)
			return rc;
		rc = receive(used - have);
		if (rc != 0 && rc != TN_EAGAIN)
			return rc;
	}
}

static uint32_t
frame_length(const char *p)
{
	const unsigned char *u = (const unsigned char *)p;

	return (uint32_t)u[0] << 24 | (uint32_t)u[1] << 16 | (uint32_t)u[2] << 8 | u[3];
}

/* Frames are arrays of few fields, the first one their number: both are a byte each. */
static bool
is_awaited(const char *p, size_t len)
{
	return len >= 2 && ((unsigned char)p[0] & 0xf0) == 0x90 &&
	    (p[1] == TN_FRAME_WAKE || p[1] == TN_FRAME_OPERATED);
}

int
wk_channel_wait(uint64_t id, struct tn_frame *f)
{
	size_t skip = 0;		/* behind start: frames that are not it */

	release_held();
	for (;;) {
		size_t have = ch.end - ch.start - skip, missing;
		char *p = ch.rx + ch.start + skip;
		int rc;

		missing = have < 4 ? 4 - have : 0;
		if (missing == 0) {
			size_t len = frame_length(p);

			if (len > TN_FRAME_MAX)
				return TN_ELIMIT;
			if (have < 4 + len)
				missing = 4 + len - have;
			else if (!is_awaited(p + 4, len)) {
				skip += 4 + len;
				continue;
			} else {
				uint64_t about;

				rc = tn_frame_decode(ch.decoder, TN_DIR_TO_WORKER, p, have, f,
				    &ch.held);
				if (rc != 0)
					return rc == TN_EAGAIN ? TN_EPROTO : rc;
				ch.held_at = skip;
				about = f->type == TN_FRAME_WAKE ? f->wake.id : f->operated.id;
				if (about == id)
					return wk_deadline_passed() ? TN_ETIMEOUT : 0;
				/* For a request that is over. */
				release_held();
				continue;
			}
		}
		/*
		 * The front writes the slots page well before its signal arrives: looking
		 * here leaves no room for a signal that comes before recv() waits.
		 */
		if (wk_deadline_passed())
			return TN_ETIMEOUT;
		rc = receive(missing);
		if (rc != 0 && rc != TN_EAGAIN)
			return rc;
	}
}

int
wk_channel_send(const struct tn_frame *f)
{
	size_t done = 0;
	int rc;

	ch.tx.len = 0;
	ch.tx.failed = false;
	rc = tn_frame_encode(&ch.tx, f);
	if (rc != 0)
		return rc == TN_ENOMEM ? TN_ELIMIT : rc;
	while (done < ch.tx.len) {
		size_t n = ch.tx.len - done;
		ssize_t sent;

		sent = sendto(ch.fd, ch.tx.p + done,
		    n < WK_CHANNEL_SEND_MAX ? n : WK_CHANNEL_SEND_MAX, MSG_NOSIGNAL, NULL, 0);
		if (sent < 0) {
			/* Half a frame would be worse than a late one. */
			if (errno == EINTR)
				continue;
			return TN_ECLOSED;
		}
		done += (size_t)sent;
	}
	return 0;
}
