/*
 * client_example SOCKET CONTRACT [PATH] - call a contract of tana-edge, with
 * msgpack-c and nothing else.  Prints the status and the body.
 */
#include <msgpack.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static void
pack_str(msgpack_packer *pk, const char *s)
{
	msgpack_pack_str(pk, strlen(s));
	msgpack_pack_str_body(pk, s, strlen(s));
}

/* [0, id, "invoke", [{"contract": ..., "path": ..., "caller": ...}]] */
static int
send_call(int fd, const char *contract, const char *path)
{
	msgpack_sbuffer out;
	msgpack_packer pk;
	size_t at = 0;
	ssize_t n = 0;

	msgpack_sbuffer_init(&out);
	msgpack_packer_init(&pk, &out, msgpack_sbuffer_write);
	msgpack_pack_array(&pk, 4);
	msgpack_pack_int(&pk, 0);
	msgpack_pack_int(&pk, 1);
	pack_str(&pk, "invoke");
	msgpack_pack_array(&pk, 1);
	msgpack_pack_map(&pk, 3);
	pack_str(&pk, "contract");
	pack_str(&pk, contract);
	pack_str(&pk, "path");
	pack_str(&pk, path);
	pack_str(&pk, "caller");
	pack_str(&pk, "client_example");
	while (at < out.size && (n = send(fd, out.data + at, out.size - at, MSG_NOSIGNAL)) >= 0)
		at += (size_t)n;
	msgpack_sbuffer_destroy(&out);
	return n < 0 ? -1 : 0;
}

static const msgpack_object *
get(const msgpack_object *map, const char *key)
{
	uint32_t i;

	for (i = 0; map->type == MSGPACK_OBJECT_MAP && i < map->via.map.size; i++) {
		const msgpack_object *k = &map->via.map.ptr[i].key;

		if (k->type == MSGPACK_OBJECT_STR && k->via.str.size == strlen(key) &&
		    memcmp(k->via.str.ptr, key, strlen(key)) == 0)
			return &map->via.map.ptr[i].val;
	}
	return NULL;
}

/* [1, id, error, result], where error is nil or [code, message]. */
static int
print_answer(const msgpack_object *m)
{
	const msgpack_object *error = &m->via.array.ptr[2], *result = &m->via.array.ptr[3];
	const msgpack_object *status = get(result, "status"), *body = get(result, "body");

	if (error->type != MSGPACK_OBJECT_NIL) {
		msgpack_object_print(stderr, *error);
		(void)fputc('\n', stderr);
		return 1;
	}
	if (status == NULL || body == NULL || body->type != MSGPACK_OBJECT_BIN)
		return 1;
	printf("%d\n%.*s\n", (int)status->via.u64, (int)body->via.bin.size, body->via.bin.ptr);
	return 0;
}

int
main(int argc, char **argv)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	msgpack_unpacked m;
	msgpack_unpacker in;
	ssize_t n;
	int fd, code = -1;

	if (argc < 3 || strlen(argv[1]) >= sizeof(sa.sun_path)) {
		(void)fputs("usage: client_example SOCKET CONTRACT [PATH]\n", stderr);
		return 2;
	}
	strcpy(sa.sun_path, argv[1]);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&sa, sizeof(sa)) != 0 ||
	    send_call(fd, argv[2], argc > 3 ? argv[3] : "/") != 0) {
		perror(argv[1]);
		return 1;
	}
	msgpack_unpacked_init(&m);
	if (!msgpack_unpacker_init(&in, 65536))
		return 1;
	while (code < 0 && msgpack_unpacker_reserve_buffer(&in, 65536) &&
	    (n = read(fd, msgpack_unpacker_buffer(&in), 65536)) > 0) {
		msgpack_unpacker_buffer_consumed(&in, (size_t)n);
		/* A message of three items is a notification, such as "draining". */
		while (code < 0 && msgpack_unpacker_next(&in, &m) == MSGPACK_UNPACK_SUCCESS)
			if (m.data.type == MSGPACK_OBJECT_ARRAY && m.data.via.array.size == 4)
				code = print_answer(&m.data);
	}
	msgpack_unpacked_destroy(&m);
	msgpack_unpacker_destroy(&in);
	close(fd);
	if (code < 0)
		(void)fputs("client_example: no answer\n", stderr);
	return code < 0 ? 1 : code;
}
